"""Validation of request bodies: a typed value, or all faults with their JSON pointers. It knows no HTTP."""
