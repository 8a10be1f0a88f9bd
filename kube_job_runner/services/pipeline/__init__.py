"""The batch pipeline: messages of a batch are decided upon, acted on and committed, each job by itself."""
