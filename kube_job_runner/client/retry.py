"""Retries of the client, without I/O: whether a call is retried, and after how many seconds. Both clients use them.

Every call can be repeated. Reads change nothing, a submit has an idempotency key, and a second cancel changes nothing. So a
lost answer is retried like a refused connection.
"""

import email.utils
import random
import ssl
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime

import httpx2
import msgspec

from kube_job_runner.client import api_calls, errors, models
from kube_job_runner.client.connection import Connection

OnRetry = Callable[[str, float], None]
"""Called before each retry, with the reason (a sentence) and the wait in seconds."""

RETRIED_STATUSES = frozenset({408, 429, 502, 503, 504})


class RetryPolicy(msgspec.Struct, frozen=True, kw_only=True):
    """How a call is retried. `budget_seconds` limits all tries and waits together; 0 means one try.

    `unreached_seconds` limits them instead as long as the client has never reached the server; None means the same budget.
    """

    budget_seconds: float = 60.0
    unreached_seconds: float | None = None
    first_delay_seconds: float = 0.2
    factor: float = 2.0
    max_delay_seconds: float = 10.0


def decide(
    policy: RetryPolicy,
    *,
    failures: int,
    elapsed_seconds: float,
    retry_after_seconds: float | None = None,
    jitter: Callable[[], float] = random.random,
) -> float | None:
    """Return the seconds to wait before the next try, or None to give up.

    `failures` counts the failures so far (1 after the first). The wait is random within the upper half of its step, and not
    shorter than `Retry-After` of the server. If it would end after the budget, the call is given up at once.
    """
    exponent = min(failures - 1, 32)
    step = min(policy.first_delay_seconds * policy.factor**exponent, policy.max_delay_seconds)
    delay = step * (0.5 + jitter() / 2)
    if retry_after_seconds is not None:
        delay = max(delay, retry_after_seconds + jitter() * policy.first_delay_seconds)
    return delay if elapsed_seconds + delay <= policy.budget_seconds else None


def parse_retry_after(value: str | None, *, now: Callable[[], datetime] = lambda: datetime.now(UTC)) -> float | None:
    """Return the seconds of a `Retry-After` header, which is a number or a date (RFC 9110 section 10.2.3), or None."""
    if not value:
        return None
    if value.strip().isdecimal():
        return float(min(int(value), 86_400))
    try:
        moment = email.utils.parsedate_to_datetime(value)
    except ValueError:
        return None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return max(0.0, (moment - now()).total_seconds())


@dataclass
class Contact:
    """Whether a client has ever reached its server."""

    made: bool = False


@dataclass
class Tries:
    """Counts the tries of one call. Its methods return the seconds to wait before the next try, or raise."""

    connection: Connection
    policy: RetryPolicy
    on_retry: OnRetry | None
    monotonic: Callable[[], float]
    contact: Contact = field(default_factory=Contact)

    def __post_init__(self) -> None:
        self._failures = 0
        self._started = self.monotonic()
        self._sent = False

    def reset(self) -> None:
        """Forget the failures so far, because the connection works."""
        self._failures = 0
        self._started = self.monotonic()
        self.reached()

    def reached(self) -> None:
        """Note that the server was reached: what was sent may have had an effect."""
        self._sent = self.contact.made = True

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
            foreign = not response.content.lstrip().startswith(
                b"{"
            )  # a page, or nothing: all our problems are JSON objects
            if foreign and not isinstance(error, errors.Unauthorized | errors.Forbidden):
                place = f"HTTP {response.status_code} from {self.connection.url}"
                raise errors.UnexpectedAnswer(f"{place} is no answer of kube-job-runner: is the server URL right?")
            raise error
        after = parse_retry_after(response.headers.get("retry-after"))
        return self._next(f"the server answered {response.status_code}", error, after)

    def after_fault(self, fault: httpx2.HTTPError) -> float:
        """Handle a connection error.

        Raises:
            ConnectionFailed: the call cannot be retried, or the budget is used up. `Unreached`: and nothing was ever sent.
        """
        text = f"cannot reach {self.connection.url}: {_describe(fault)}"
        if not isinstance(fault, httpx2.ConnectError | httpx2.ConnectTimeout):
            self.reached()
        error = errors.ConnectionFailed(text) if self._sent else errors.Unreached(text)
        if not isinstance(fault, httpx2.TransportError) or _hopeless(fault):
            raise error from fault
        return self._next(text, error, None, cause=fault)

    def _next(
        self, why: str, error: errors.ClientError, after_seconds: float | None, *, cause: Exception | None = None
    ) -> float:
        self._failures += 1
        policy = self.policy
        if policy.unreached_seconds is not None and not self.contact.made:
            policy = msgspec.structs.replace(policy, budget_seconds=policy.unreached_seconds)
        delay = decide(
            policy,
            failures=self._failures,
            elapsed_seconds=self.monotonic() - self._started,
            retry_after_seconds=after_seconds,
        )
        if delay is None:
            raise error from cause
        if self.on_retry is not None:
            self.on_retry(why, delay)
        return delay


def _retried(problem: models.Problem) -> bool:
    if problem.status in RETRIED_STATUSES:
        return problem.retryable is not False
    return problem.retryable is True and problem.status >= 500


def _describe(fault: BaseException) -> str:
    *_, first = _causes(fault)
    return str(fault) or str(first) or type(fault).__name__


def _hopeless(fault: BaseException) -> bool:
    if isinstance(fault, httpx2.UnsupportedProtocol | httpx2.LocalProtocolError):
        return True
    return any(isinstance(cause, ssl.SSLCertVerificationError) for cause in _causes(fault))


def _causes(fault: BaseException) -> Iterator[BaseException]:
    cause: BaseException | None = fault
    while cause is not None:
        yield cause
        cause = cause.__cause__ or cause.__context__
