"""The Python SDK: `Client`, and `AsyncClient` with the same methods. It talks HTTP and imports nothing of the server.

from kube_job_runner import Client, JobFailed

with Client() as client:                     # KJR_SERVER and KJR_TOKEN, or the server of `kjr up`
    job = client.submit(image="python:3.13", command=["python", "-c", "print(1)"])
    for line in client.logs(job.id, follow=True):
        print(line)
    client.wait(job.id)                      # raises JobFailed unless the job succeeded
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from kube_job_runner.client.connection import Connection, discover
from kube_job_runner.client.errors import (
    ApiError,
    ClientError,
    Conflict,
    ConnectionFailed,
    Forbidden,
    IdempotencyMismatch,
    InvalidRequest,
    JobCancelled,
    JobFailed,
    NotConfigured,
    NotFound,
    RateLimited,
    ServerError,
    Unauthorized,
    UnexpectedAnswer,
    WaitTimeout,
)
from kube_job_runner.client.models import (
    Attempt,
    BatchAnswer,
    Explanation,
    FieldError,
    Job,
    LogChunk,
    Phase,
    Problem,
    Simulation,
    Timeline,
    Transition,
)
from kube_job_runner.client.retry import RetryPolicy
from kube_job_runner.client.sync import Client

if TYPE_CHECKING:
    from kube_job_runner.client.aio import AsyncClient

__all__ = [
    "ApiError", "AsyncClient", "Attempt", "BatchAnswer", "Client", "ClientError", "Conflict", "Connection",
    "ConnectionFailed", "Explanation", "FieldError", "Forbidden", "IdempotencyMismatch", "InvalidRequest",
    "Job", "JobCancelled", "JobFailed", "LogChunk", "NotConfigured", "NotFound", "Phase", "Problem",
    "RateLimited", "RetryPolicy", "ServerError", "Simulation", "Timeline", "Transition", "Unauthorized",
    "UnexpectedAnswer", "WaitTimeout", "discover",
]  # fmt: skip


def __getattr__(name: str) -> object:
    # asyncio is a fifth of the import time of the SDK, and the command line does not need it.
    if name == "AsyncClient":
        from kube_job_runner.client.aio import AsyncClient

        return AsyncClient
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
