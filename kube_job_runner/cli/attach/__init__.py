"""Attaching to jobs: follow the log, wait for the end, show progress, report the end."""
