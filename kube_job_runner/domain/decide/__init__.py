"""What to do with a job: the state machine, endings, retries, admission. Pure functions."""
