"""The API, version 1. A module holds one endpoint: its query, its body, its answer, its handler and its declaration."""
