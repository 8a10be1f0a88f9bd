"""Shared by the clusters that live in our own process: local and simulated."""
