"""The database's clock, for times that are set before they reach the database."""

import time
from datetime import UTC, datetime, timedelta

from kube_job_runner.adapters.postgres import statements
from kube_job_runner.adapters.postgres.pool import Pool

_TIME = statements.load("doctor")["now"]


class DatabaseClock:
    """`SyncedClock` on PostgreSQL: the database's last answer, and the time since then by the monotonic clock.

    The clock of a machine may be wrong, or may be set while we run. It is used only before the first
    `sync`. The error of this clock is the time of that round trip, plus any later change of the database's clock.
    """

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._answer = datetime.now(UTC)
        self._answered_at = self.monotonic()

    async def sync(self) -> None:
        row = await self._pool.fetchrow(_TIME)
        assert row is not None
        self._answer, self._answered_at = row["now"], self.monotonic()

    def now(self) -> datetime:
        return self._answer + timedelta(seconds=self.monotonic() - self._answered_at)

    def monotonic(self) -> float:
        return time.monotonic()
