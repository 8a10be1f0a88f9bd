"""Clocks, injected so that tests own time."""

from __future__ import annotations

from datetime import datetime
from typing import Protocol


class Clock(Protocol):
    """A wall clock and a monotonic clock."""

    def now(self) -> datetime:
        """Return the time, aware, in UTC."""
        ...

    def monotonic(self) -> float:
        """Return seconds that never step back."""
        ...


class SyncedClock(Clock, Protocol):
    """A clock that goes by the answers of another machine."""

    async def sync(self) -> None:
        """Ask for the time.

        Raises:
            TemporaryError: there is no answer; the clock goes on from the last one.
        """
        ...
