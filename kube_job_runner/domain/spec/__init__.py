"""The spec of a job: its fields, their limits, and changes to it."""
