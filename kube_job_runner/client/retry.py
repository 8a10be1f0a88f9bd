"""Whether a call is made again, and when: a value, so that it can be tested as arithmetic.

Every call of this client may be repeated: reads change nothing, a submit carries an idempotency key, a cancel of a
cancelled job is the same cancel. So a lost answer is retried like a refused connection.
"""

from __future__ import annotations

import email.utils
import random
from collections.abc import Callable
from datetime import UTC, datetime

import msgspec

RETRIED_STATUSES = frozenset({408, 429, 502, 503, 504})


class RetryPolicy(msgspec.Struct, frozen=True, kw_only=True):
    """How long (`budget_seconds`, all tries and waits together) and in which steps a call is tried; 0 means once."""

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
    """Return how many seconds to wait before the next try, or None to give up.

    `failures` counts those so far (1 at the first). The wait is drawn from the upper half of its step, is never shorter
    than the server's `Retry-After`, and a wait that would end after the budget is not begun.
    """
    exponent = min(failures - 1, 32)
    step = min(policy.first_delay_seconds * policy.factor**exponent, policy.max_delay_seconds)
    delay = step * (0.5 + jitter() / 2)
    if retry_after_seconds is not None:
        delay = max(delay, retry_after_seconds + jitter() * policy.first_delay_seconds)
    return delay if elapsed_seconds + delay <= policy.budget_seconds else None


def parse_retry_after(value: str | None, *, now: Callable[[], datetime] = lambda: datetime.now(UTC)) -> float | None:
    """Return the seconds of a `Retry-After` header (RFC 9110 section 10.2.3: a number or a date), or None."""
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
