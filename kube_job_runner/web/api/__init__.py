"""The API, version 1: its answers, its handlers, and the table of its operations."""
