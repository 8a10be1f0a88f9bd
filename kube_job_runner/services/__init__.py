"""Use cases over ports: what the product does, with no word about how it is stored, sent or run."""
