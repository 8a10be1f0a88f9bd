"""Benchmarks: what a submit costs, and how many jobs a second go through the whole product on a real API server."""
