"""Logs: time stamps, resuming, rotation, chunks."""
