"""The tries of one call, without I/O: what to do after each answer and each connection error. Both clients use it."""

from __future__ import annotations

import random
import socket
import ssl
import time
from collections.abc import Callable, Iterable

import httpx2

from kube_job_runner.client import api_calls, errors, models, retry
from kube_job_runner.client.connection import Connection

OnRetry = Callable[[str, float], None]
"""Called before each retry, with the reason (a sentence) and the wait in seconds."""

SocketOption = tuple[int, int, int]


def socket_options() -> Iterable[SocketOption]:
    """Return TCP keep-alive options. They detect a lost peer within a minute, even on a silent stream."""
    options = [(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)]
    for name, value in (("TCP_KEEPIDLE", 30), ("TCP_KEEPALIVE", 30), ("TCP_KEEPINTVL", 10), ("TCP_KEEPCNT", 3)):
        option = getattr(socket, name, None)
        if option is not None:
            options.append((socket.IPPROTO_TCP, option, value))
    return options


def timeouts(call: api_calls.Call) -> httpx2.Timeout:
    """Return the timeouts of a call. Connecting has a shorter one."""
    return httpx2.Timeout(call.timeout_seconds, connect=min(10.0, call.timeout_seconds))


class Tries:
    """Counts the tries of one call. Its methods return the seconds to wait before the next try, or raise."""

    def __init__(
        self,
        connection: Connection,
        policy: retry.RetryPolicy,
        *,
        on_retry: OnRetry | None = None,
        monotonic: Callable[[], float] = time.monotonic,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self._connection = connection
        self._policy = policy
        self._on_retry = on_retry
        self._monotonic = monotonic
        self._jitter = jitter
        self.reset()

    def reset(self) -> None:
        """Forget the failures so far, because the connection works."""
        self._failures = 0
        self._started = self._monotonic()

    def after_answer(self, response: httpx2.Response) -> float:
        """Handle an answer that is not a success. Its body must have been read.

        Raises:
            ApiError: the call cannot be retried, or the budget is used up.
            UnexpectedAnswer: this API does not give such an answer (a redirect, for example).
        """
        if response.status_code < 400:
            place = response.headers.get("location", "")
            raise errors.UnexpectedAnswer(f"HTTP {response.status_code} {place}: is the server URL right?")
        problem = api_calls.problem_of(response.status_code, response.content)
        error = errors.of_problem(problem)
        if not _retried(problem):
            raise error
        after = retry.parse_retry_after(response.headers.get("retry-after"))
        return self._next(f"the server answered {response.status_code}", error, after)

    def after_fault(self, fault: httpx2.HTTPError) -> float:
        """Handle a connection error.

        Raises:
            ConnectionFailed: the call cannot be retried, or the budget is used up.
        """
        text = f"cannot reach {self._connection.url}: {_describe(fault)}"
        error = errors.ConnectionFailed(text)
        if not isinstance(fault, httpx2.TransportError) or _hopeless(fault):
            raise error from fault
        return self._next(text, error, None, cause=fault)

    def _next(
        self, why: str, error: errors.ClientError, after_seconds: float | None, *, cause: Exception | None = None
    ) -> float:
        self._failures += 1
        delay = retry.decide(
            self._policy,
            failures=self._failures,
            elapsed_seconds=self._monotonic() - self._started,
            retry_after_seconds=after_seconds,
            jitter=self._jitter,
        )
        if delay is None:
            raise error from cause
        if self._on_retry is not None:
            self._on_retry(why, delay)
        return delay


def _retried(problem: models.Problem) -> bool:
    if problem.status in retry.RETRIED_STATUSES:
        return problem.retryable is not False
    return problem.retryable is True and problem.status >= 500


def _describe(fault: BaseException) -> str:
    cause: BaseException = fault
    while cause.__cause__ is not None or cause.__context__ is not None:
        cause = cause.__cause__ or cause.__context__ or cause
    return str(fault) or str(cause) or type(fault).__name__


def _hopeless(fault: BaseException) -> bool:
    if isinstance(fault, httpx2.UnsupportedProtocol | httpx2.LocalProtocolError):
        return True
    cause: BaseException | None = fault
    while cause is not None:
        if isinstance(cause, ssl.SSLCertVerificationError):
            return True
        cause = cause.__cause__ or cause.__context__
    return False
