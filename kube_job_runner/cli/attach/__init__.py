"""Attached to running jobs: follow the log, wait for the end, show progress."""
