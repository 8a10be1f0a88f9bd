"""One call's tries, without the I/O: what to do after each answer and each fault. Both clients drive it."""

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
"""Called before each wait with the reason (a sentence) and the wait in seconds."""

SocketOption = tuple[int, int, int]


def socket_options() -> Iterable[SocketOption]:
    """Return TCP keep-alive options: a peer that vanished is noticed in a minute, also on a stream that is silent."""
    options = [(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)]
    for name, value in (("TCP_KEEPIDLE", 30), ("TCP_KEEPALIVE", 30), ("TCP_KEEPINTVL", 10), ("TCP_KEEPCNT", 3)):
        option = getattr(socket, name, None)
        if option is not None:
            options.append((socket.IPPROTO_TCP, option, value))
    return options


def timeouts(call: api_calls.Call) -> httpx2.Timeout:
    """Return the timeouts of a call; connecting has a short one of its own."""
    return httpx2.Timeout(call.timeout_seconds, connect=min(10.0, call.timeout_seconds))


class Tries:
    """Counts the tries of one call; each method returns the seconds to wait before the next try, or raises."""

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
        """Forget the failures so far: the link has proved good."""
        self._failures = 0
        self._started = self._monotonic()

    def after_answer(self, response: httpx2.Response) -> float:
        """Judge an answer that is not a success (its body must be read).

        Raises:
            ApiError: it may not be retried, or the budget is used up.
            UnexpectedAnswer: it is a redirect or another answer that this API does not give.
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
        """Judge a fault of the link.

        Raises:
            ConnectionFailed: it may not be retried, or the budget is used up.
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
