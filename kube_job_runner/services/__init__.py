"""Use cases over ports: what the product does. The adapters decide how it is stored, sent and run."""
