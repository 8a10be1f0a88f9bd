"""Settings of the link to the server: its address, how long calls are retried, and the options of httpx2."""

import socket
from collections.abc import Callable, Iterable
from typing import Any

import httpx2
import msgspec

from kube_job_runner.client import api_calls
from kube_job_runner.client.connection import Connection
from kube_job_runner.client.retry import Contact, OnRetry, RetryPolicy, Tries


class LinkSettings(msgspec.Struct, frozen=True):
    """Settings of a link. `retry` limits a single call, `outage_seconds` a wait or a followed log."""

    connection: Connection
    retry: RetryPolicy
    outage_seconds: float
    on_retry: OnRetry | None
    monotonic: Callable[[], float]
    contact: Contact = msgspec.field(default_factory=Contact)

    def tries(self, *, patient: bool = False) -> Tries:
        """Return the tries of one call. A patient call survives an outage."""
        policy = self.retry
        if patient:
            longest_seconds = max(self.outage_seconds, policy.budget_seconds)
            policy = RetryPolicy(budget_seconds=longest_seconds, unreached_seconds=policy.unreached_seconds)
        return Tries(self.connection, policy, self.on_retry, self.monotonic, self.contact)

    def transport_options(self) -> dict[str, Any]:
        """Return the options of the HTTP transport."""
        return {
            "verify": self.connection.url.startswith("https:"),
            "trust_env": not self.connection.loopback,
            "socket_options": [*_socket_options()],
        }

    def client_options(self) -> dict[str, Any]:
        """Return the options of the HTTP client."""
        return {
            "base_url": self.connection.url,
            "headers": api_calls.common_headers(self.connection.token),
            "trust_env": not self.connection.loopback,
        }


def request_options(call: api_calls.Call[Any]) -> dict[str, Any]:
    """Return the options of a request. Connecting has a shorter timeout than reading."""
    return {
        "method": call.method,
        "url": call.path,
        "params": call.params,
        "headers": call.headers,
        "content": call.body,
        "timeout": httpx2.Timeout(call.timeout_seconds, connect=min(10.0, call.timeout_seconds)),
    }


def _socket_options() -> Iterable[tuple[int, int, int]]:
    """Return TCP keep-alive options. They detect a lost peer within a minute, even on a silent stream."""
    yield socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1
    for name, value in (("TCP_KEEPIDLE", 30), ("TCP_KEEPALIVE", 30), ("TCP_KEEPINTVL", 10), ("TCP_KEEPCNT", 3)):
        if hasattr(socket, name):
            yield socket.IPPROTO_TCP, getattr(socket, name), value
