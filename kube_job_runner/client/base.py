"""What the two clients have in common: how they find the server, and their limits."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from kube_job_runner.client import api_calls, connection, errors, exchange, models
from kube_job_runner.client.retry import RetryPolicy

UNCHANGED_PAUSE_SECONDS = 1.0


class BaseClient:
    """Settings of a client.

    `server` and `token` default to KJR_SERVER and KJR_TOKEN, then to what `kjr up` left in the data directory. `retry`
    bounds a single call; `outage_seconds` is how long a wait or a followed log bears a server that does not answer.

    Raises:
        NotConfigured: no server is known.
    """

    def __init__(
        self,
        server: str | None = None,
        token: str | None = None,
        *,
        retry: RetryPolicy | None = None,
        outage_seconds: float = 600.0,
        on_retry: exchange.OnRetry | None = None,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._connection = connection.discover(server, token)
        self._retry = retry or RetryPolicy()
        self._outage = RetryPolicy(budget_seconds=max(outage_seconds, self._retry.budget_seconds))
        self._on_retry = on_retry
        self._monotonic = monotonic

    @property
    def server(self) -> str:
        """The base URL of the server."""
        return self._connection.url

    def _exchange(self, policy: RetryPolicy | None = None) -> exchange.Exchange:
        return exchange.Exchange(
            self._connection, policy or self._retry, on_retry=self._on_retry, monotonic=self._monotonic
        )

    def _transport_options(self) -> dict[str, Any]:
        verify = self._connection.url.startswith("https:")
        return {
            "verify": verify,
            "trust_env": not self._connection.loopback,
            "socket_options": exchange.socket_options(),
        }

    def _client_options(self) -> dict[str, Any]:
        return {
            "base_url": self._connection.url,
            "headers": api_calls.common_headers(self._connection.token),
            "trust_env": not self._connection.loopback,
        }


def merge_spec(spec: dict[str, Any] | None, fields: dict[str, Any]) -> dict[str, Any]:
    """Return the spec of a submit call: the mapping with the keyword arguments on top (None values are left out).

    Raises:
        TypeError: neither names an image.
    """
    merged = {**(spec or {}), **{key: value for key, value in fields.items() if value is not None}}
    if not merged:
        raise TypeError("submit needs a spec, or its fields as keyword arguments: submit(image=..., command=[...])")
    return merged


def checked(job: models.Job, *, check: bool) -> models.Job:
    """Return an ended job.

    Raises:
        JobCancelled: it was cancelled, and `check` is set.
        JobFailed: it failed, and `check` is set.
    """
    if not check or job.succeeded:
        return job
    raise errors.JobCancelled(job) if job.state == "cancelled" else errors.JobFailed(job)
