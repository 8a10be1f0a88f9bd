"""The asynchronous client."""

from kube_job_runner.client.aio.sdk import AsyncClient

__all__ = ["AsyncClient"]
