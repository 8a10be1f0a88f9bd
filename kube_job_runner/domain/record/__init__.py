"""The record of a job: its phases, its explanation in one sentence, its trace."""
