"""Adapters: one per outside system, each behind the ports and nothing else."""
