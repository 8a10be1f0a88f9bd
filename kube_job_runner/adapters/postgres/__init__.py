"""PostgreSQL: the store, the queue, migrations, and the embedded server."""

from __future__ import annotations

from kube_job_runner.adapters.postgres import embedded
from kube_job_runner.adapters.postgres.migrate import migrate
from kube_job_runner.adapters.postgres.pool import Pool, open_pool
from kube_job_runner.adapters.postgres.process import ProcessPart
from kube_job_runner.adapters.postgres.queue import PostgresQueue
from kube_job_runner.adapters.postgres.read import ReadPart
from kube_job_runner.adapters.postgres.submit import SubmitPart
from kube_job_runner.adapters.postgres.sweep import HealthPart, SweepPart, TokenPart
from kube_job_runner.adapters.postgres.wakeup import PostgresWakeup

__all__ = ["Postgres", "Store", "connect", "embedded", "migrate"]


class Store(SubmitPart, ReadPart, ProcessPart, SweepPart, TokenPart, HealthPart):
    """All store ports over one pool; each component is handed it as the one port that it needs."""

    def __init__(self, pool: Pool) -> None:
        super().__init__(pool)


class Postgres:
    """One database: the store, the queue, the wake-up hints."""

    def __init__(self, pool: Pool, wakeup: PostgresWakeup) -> None:
        self._pool = pool
        self.store = Store(pool)
        self.wakeup = wakeup
        self.queue = PostgresQueue(pool, wakeup)

    async def close(self) -> None:
        """Close all connections."""
        await self.wakeup.close()
        await self._pool.close()


async def connect(url: str, *, pool_size: int = 10) -> Postgres:
    """Connect to a database that `migrate` has been run on.

    Raises:
        DatabaseUnavailable: it does not answer.
        ConfigurationError: it refuses us.
    """
    pool = await open_pool(url, size=pool_size)
    wakeup = PostgresWakeup(url)
    wakeup.start()
    return Postgres(pool, wakeup)
