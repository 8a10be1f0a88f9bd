"""Logs without I/O: time stamps, resuming a stream, rotation, chunks, and what a reader sees."""
