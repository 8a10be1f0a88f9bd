"""The clocks of this machine."""

from __future__ import annotations

import datetime as dt
import time


class SystemClock:
    """`Clock` of this machine."""

    def now(self) -> dt.datetime:
        """Return the time in UTC."""
        return dt.datetime.now(dt.UTC)

    def monotonic(self) -> float:
        """Return seconds that never step back."""
        return time.monotonic()
