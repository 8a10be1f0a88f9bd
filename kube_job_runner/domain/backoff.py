"""Backoff and jitter: how long to wait before the next try or the next round.

The only owner of this arithmetic in the server. The client has its own, because it imports nothing of the server.
"""

import random
from collections.abc import Callable

Spread = tuple[float, float]
"""The smallest and the largest share of a delay."""

EXACT: Spread = (1.0, 1.0)
UPPER_HALF: Spread = (0.5, 1.0)
"""For retries of many processes at once: they come back at different times, and none later than planned."""
AROUND: Spread = (0.9, 1.1)
"""For rounds that repeat at an interval."""
NOT_EARLIER: Spread = (1.0, 1.25)
"""For a delay that the other side asked for."""


def delay_seconds(failures: int, *, first_seconds: float, max_seconds: float, factor: float = 2.0) -> float:
    """Return the delay after so many failures in a row (at least 1): it grows by `factor`, up to `max_seconds`."""
    try:
        return min(first_seconds * factor ** (failures - 1), max_seconds)
    except OverflowError:
        return max_seconds


def spread(seconds: float, over: Spread, *, random_share: Callable[[], float] = random.random) -> float:
    """Return a random part of a delay. `random_share` returns a number from 0 (the smallest share) to 1 (the largest)."""
    smallest, largest = over
    return seconds * (smallest + (largest - smallest) * random_share())


class Backoff:
    """The delays of one loop: they grow with each failure in a row."""

    def __init__(
        self, *, first_seconds: float, max_seconds: float, factor: float = 2.0, over: Spread = UPPER_HALF
    ) -> None:
        self._first_seconds = first_seconds
        self._max_seconds = max_seconds
        self._factor = factor
        self._over = over
        self._failures = 0

    def next(self) -> float:
        """Count a failure, and return the seconds to wait before the next try."""
        self._failures += 1
        grown_seconds = delay_seconds(
            self._failures, first_seconds=self._first_seconds, max_seconds=self._max_seconds, factor=self._factor
        )
        return spread(grown_seconds, self._over)

    def reset(self) -> None:
        """Begin again: the last try went well."""
        self._failures = 0
