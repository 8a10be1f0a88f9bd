"""Expand and contract: a migration must not break the programs of the last release, which still run during a rollout."""
