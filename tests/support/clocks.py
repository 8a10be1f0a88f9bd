"""Clocks for tests."""

from __future__ import annotations

import asyncio
import datetime as dt
import time


class SystemClock:
    """The clocks of the machine."""

    def now(self) -> dt.datetime:
        return dt.datetime.now(dt.UTC)

    def monotonic(self) -> float:
        return time.monotonic()


class LoopClock(SystemClock):
    """The time of day of the machine, and the time of the event loop, which may be virtual."""

    def monotonic(self) -> float:
        return asyncio.get_running_loop().time()
