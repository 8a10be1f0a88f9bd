"""The programs between the runner and its local jobs. They use the standard library only, so that they start fast."""
