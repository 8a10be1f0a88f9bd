"""The endpoints of the API, version 1. A module holds one endpoint, or the few of one subject; `endpoints` has them all."""
