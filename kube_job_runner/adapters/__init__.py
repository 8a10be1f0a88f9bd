"""Adapters: one per outside system. Each implements ports, and is reached only through them."""
