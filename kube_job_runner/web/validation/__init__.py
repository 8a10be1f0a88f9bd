"""The validating half of the kit: bodies as typed values, or every fault at once with its JSON pointer. No HTTP in it."""
