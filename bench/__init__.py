"""Benchmarks: the cost of a submit, and the jobs per second through the whole product on a real API server."""
