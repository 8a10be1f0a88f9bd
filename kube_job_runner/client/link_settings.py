"""Settings of the link to the server: its address, how long calls are retried, and the options of httpx2."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

from kube_job_runner.client import api_calls, connection
from kube_job_runner.client.retry import RetryPolicy
from kube_job_runner.client.tries import OnRetry, Tries, socket_options


class LinkSettings(msgspec.Struct, frozen=True, kw_only=True):
    """Settings of a link. `retry` limits a single call, `outage` limits a wait or a followed log."""

    connection: connection.Connection
    retry: RetryPolicy
    outage: RetryPolicy
    on_retry: OnRetry | None
    monotonic: Callable[[], float]

    def tries(self, *, patient: bool = False) -> Tries:
        """Return the tries of one call. A patient call uses `outage`."""
        policy = self.outage if patient else self.retry
        return Tries(self.connection, policy, on_retry=self.on_retry, monotonic=self.monotonic)

    def transport_options(self) -> dict[str, Any]:
        """Return the options of the HTTP transport."""
        return {
            "verify": self.connection.url.startswith("https:"),
            "trust_env": not self.connection.loopback,
            "socket_options": socket_options(),
        }

    def client_options(self) -> dict[str, Any]:
        """Return the options of the HTTP client."""
        return {
            "base_url": self.connection.url,
            "headers": api_calls.common_headers(self.connection.token),
            "trust_env": not self.connection.loopback,
        }


def discover(
    server: str | None,
    token: str | None,
    *,
    retry: RetryPolicy | None,
    outage_seconds: float,
    on_retry: OnRetry | None,
    monotonic: Callable[[], float],
) -> LinkSettings:
    """Return the settings for the named server, or for the server that is found.

    Raises:
        NotConfigured: no server is known.
    """
    retry = retry or RetryPolicy()
    return LinkSettings(
        connection=connection.discover(server, token),
        retry=retry,
        outage=RetryPolicy(budget_seconds=max(outage_seconds, retry.budget_seconds)),
        on_retry=on_retry,
        monotonic=monotonic,
    )
