"""Metrics, logs, and the safe display of text from outside. Imports nothing of ours."""
