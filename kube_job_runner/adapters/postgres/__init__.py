"""PostgreSQL: the store, the queue, migrations, and the embedded server."""

from __future__ import annotations

from collections.abc import Iterable

from kube_job_runner.adapters.postgres import embedded, roles
from kube_job_runner.adapters.postgres.logs import Logs
from kube_job_runner.adapters.postgres.pool import ACQUIRE_SECONDS, STATEMENT_SECONDS, Pool, open_pool
from kube_job_runner.adapters.postgres.queue import POLL_SECONDS, PostgresQueue
from kube_job_runner.adapters.postgres.schema import may_migrate, migrate
from kube_job_runner.adapters.postgres.store import Store
from kube_job_runner.adapters.postgres.wakeup import PostgresWakeup

__all__ = ["Logs", "Postgres", "Store", "connect", "embedded", "may_migrate", "migrate", "roles"]


class Postgres:
    """One process's way to the database: `store` (all store ports), `logs`, `queue`, `wakeup`."""

    def __init__(self, *, pool: Pool, store: Store, queue: PostgresQueue, wakeup: PostgresWakeup) -> None:
        self.pool = pool
        self.store = store
        self.logs = Logs(pool)
        self.queue = queue
        self.wakeup = wakeup

    async def lacking_rights(self, components: Iterable[str], *, role_prefix: str) -> str | None:
        """Return what our role lacks for these components, with the remedy; None when it lacks nothing."""
        return await roles.lacking(self.pool, components, prefix=role_prefix)

    async def close(self) -> None:
        """Let what is in flight end, then close every connection."""
        await self.wakeup.close()
        await self.store.close()
        await self.pool.close()


async def connect(
    url: str,
    *,
    pool_size: int = 10,
    acquire_seconds: float = ACQUIRE_SECONDS,
    statement_seconds: float = STATEMENT_SECONDS,
    poll_seconds: float = POLL_SECONDS,
) -> Postgres:
    """Connect to the database of that URL, with at most `pool_size` connections and two more (hints, health).

    The URL must lead to the server itself or to a session pooler: hints do not pass a transaction pooler.

    Raises:
        DatabaseUnavailable: the database does not answer.
        ConfigurationError: it refuses us, or the URL is wrong.
    """
    pool = await open_pool(url, size=pool_size, acquire_seconds=acquire_seconds, statement_seconds=statement_seconds)
    wakeup = PostgresWakeup(url)
    wakeup.start()
    queue = PostgresQueue(pool, wakeup, poll_seconds=poll_seconds)
    return Postgres(pool=pool, store=Store(pool, url), queue=queue, wakeup=wakeup)
