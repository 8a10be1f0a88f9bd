"""The record of a job: phases, the one sentence, the trace."""
