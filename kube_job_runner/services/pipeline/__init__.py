"""The batch pipeline: a batch of messages is grouped by job, and each job is decided, acted on and committed."""
