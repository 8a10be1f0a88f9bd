"""Expand and contract: a migration must not break the programs of the last release, which run on while it is rolled out."""
