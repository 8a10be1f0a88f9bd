# Written by `make client` from kube_job_runner/client/aio/__init__.py: do not edit.
"""The synchronous client."""

from kube_job_runner.client.sync.sdk import Client

__all__ = ["Client"]
