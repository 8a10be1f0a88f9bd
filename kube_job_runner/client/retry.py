"""The retry policy of the client: whether a call is retried, and after how many seconds.

Every call can be repeated. Reads change nothing, a submit has an idempotency key, and a second cancel changes nothing. So a
lost answer is retried like a refused connection.
"""

from __future__ import annotations

import email.utils
import random
from collections.abc import Callable
from datetime import UTC, datetime

import msgspec

RETRIED_STATUSES = frozenset({408, 429, 502, 503, 504})


class RetryPolicy(msgspec.Struct, frozen=True, kw_only=True):
    """How a call is retried. `budget_seconds` limits all tries and waits together; 0 means one try."""

    budget_seconds: float = 60.0
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
