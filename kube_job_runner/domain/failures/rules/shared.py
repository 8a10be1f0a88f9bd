"""Sentences that explanations of several places end with."""

NODE_FAULT = " This is the node's fault. A new attempt is free."
NOT_THE_JOB = " This is not the job's fault. A new attempt is free."
