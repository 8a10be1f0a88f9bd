"""The database's clock, for what is dated before it reaches the database."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta

from kube_job_runner.adapters.postgres.pool import Pool

_TIME = "SELECT clock_timestamp() AS now"


class DatabaseClock:
    """What the database's clock said last, and what has passed since then by the monotonic clock.

    A machine's own clock may be wrong, or be set while we run. Until the first `sync` it is all there is. It is off by as
    much as an answer takes, and as the database's machine has corrected its clock since.
    """

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._said = datetime.now(UTC)
        self._heard_at = self.monotonic()

    async def sync(self) -> None:
        """Ask for the time.

        Raises:
            DatabaseUnavailable: there is no answer; what was said last still goes on.
        """
        row = await self._pool.fetchrow(_TIME)
        assert row is not None
        self._said, self._heard_at = row["now"], self.monotonic()

    def now(self) -> datetime:
        """Return the time in UTC."""
        return self._said + timedelta(seconds=self.monotonic() - self._heard_at)

    def monotonic(self) -> float:
        """Return seconds that never step back."""
        return time.monotonic()
