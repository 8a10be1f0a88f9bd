"""Validation of input: strict JSON, and every fault of a document with its pointer. No HTTP."""
