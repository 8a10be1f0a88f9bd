"""kube-job-runner: run any container to completion on Kubernetes, and always know the truth about it."""

__version__ = "0.1.0"
