"""The rows of the failure table, by the place where the signal is seen."""
