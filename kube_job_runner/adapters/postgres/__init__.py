"""PostgreSQL: the store, the queue, migrations, and the embedded server."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from kube_job_runner.adapters.postgres import embedded, roles
from kube_job_runner.adapters.postgres.database_clock import DatabaseClock
from kube_job_runner.adapters.postgres.examine import examine
from kube_job_runner.adapters.postgres.leader_leases import FencedPool, Leases
from kube_job_runner.adapters.postgres.message_queue import POLL_SECONDS, PostgresQueue
from kube_job_runner.adapters.postgres.pool import ACQUIRE_SECONDS, STATEMENT_SECONDS, Pool, open_pool
from kube_job_runner.adapters.postgres.schema import may_migrate, migrate
from kube_job_runner.adapters.postgres.store import Store
from kube_job_runner.adapters.postgres.stores.log_store import Logs
from kube_job_runner.adapters.postgres.wakeup import PostgresWakeup
from kube_job_runner.ports import Fence

__all__ = [
    "DatabaseClock",
    "Fenced",
    "Logs",
    "Postgres",
    "Store",
    "connect",
    "embedded",
    "examine",
    "may_migrate",
    "migrate",
    "roles",
]


class Postgres:
    """One process's way to the database: `store` (all store ports), `logs`, `queue`, `leases`, `wakeup`."""

    def __init__(self, url: str, *, pool: Pool, store: Store, queue: PostgresQueue, wakeup: PostgresWakeup) -> None:
        self._url = url
        self.leases = Leases(url)
        self.pool = pool
        self.store = store
        self.logs = Logs(pool)
        self.queue = queue
        self.wakeup = wakeup

    def clock(self) -> DatabaseClock:
        """Return the database's clock, to be synchronised now and then."""
        return DatabaseClock(self.pool)

    async def lacking_rights(self, components: Iterable[str], *, role_prefix: str) -> str | None:
        """Return what our role lacks for these components, with the remedy; None when it lacks nothing."""
        return await roles.lacking(self.pool, components, prefix=role_prefix)

    def fenced(self, fence: Fence) -> Fenced:
        """Return the store, the queue and the logs as the leader of that term may use them."""
        pool = FencedPool(self.pool, fence)
        return Fenced(store=Store(pool, self._url), logs=Logs(pool), queue=PostgresQueue(pool, self.wakeup))

    async def close(self) -> None:
        """Let what is in flight end, then close every connection."""
        await self.wakeup.close()
        await self.store.close()
        await self.leases.close()
        await self.pool.close()


class Fenced(msgspec.Struct, frozen=True, kw_only=True):
    """What a leader writes with: all of it raises `LeaseLost` once another process has taken its lease."""

    store: Store
    logs: Logs
    queue: PostgresQueue


async def connect(
    url: str,
    *,
    pool_size: int = 10,
    acquire_seconds: float = ACQUIRE_SECONDS,
    statement_seconds: float = STATEMENT_SECONDS,
    poll_seconds: float = POLL_SECONDS,
) -> Postgres:
    """Connect to the database of that URL, with at most `pool_size` connections and three more (hints, health, leases).

    The URL must lead to the server itself or to a session pooler: hints do not pass a transaction pooler.

    Raises:
        DatabaseUnavailable: the database does not answer.
        ConfigurationError: it refuses us, or the URL is wrong.
    """
    pool = await open_pool(url, size=pool_size, acquire_seconds=acquire_seconds, statement_seconds=statement_seconds)
    wakeup = PostgresWakeup(url)
    wakeup.start()
    queue = PostgresQueue(pool, wakeup, poll_seconds=poll_seconds)
    return Postgres(url, pool=pool, store=Store(pool, url), queue=queue, wakeup=wakeup)
