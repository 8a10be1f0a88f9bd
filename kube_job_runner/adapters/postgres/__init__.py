"""PostgreSQL: stores, queue and leases; migrations and roles; the embedded server.

Where to look:
- Connections: `pool`, `fence` (of a leader), `direct_connections` (outside the pool), `failure` (what an error means),
  `pooler_check`.
- Schema: `schema` and `migrations/`. SQL: `statements` and `queries/`. Columns and fields: `rows`, made of `columns`.
- Ports: `stores/` has one module per store; `message_queue`, `wakeup`, `leader_leases`, `database_clock`, `server_health`.
- Rights: `grants` (the table of rights) and `roles` (GRANTs from it, and the check at start).
- `database_checks`: the part of `kjr doctor` that is about the database. `embedded/`: the server as a child process.
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from kube_job_runner.adapters.postgres import embedded, pooler_check, roles
from kube_job_runner.adapters.postgres.database_checks import bound_clusters, run_checks
from kube_job_runner.adapters.postgres.database_clock import DatabaseClock
from kube_job_runner.adapters.postgres.fence import FencedPool
from kube_job_runner.adapters.postgres.leader_leases import PostgresLeases
from kube_job_runner.adapters.postgres.message_queue import POLL_SECONDS, PostgresQueue
from kube_job_runner.adapters.postgres.pool import ACQUIRE_SECONDS, STATEMENT_SECONDS, Pool, open_pool
from kube_job_runner.adapters.postgres.schema import may_migrate, migrate
from kube_job_runner.adapters.postgres.server_health import PostgresHealth
from kube_job_runner.adapters.postgres.stores.bound_cluster import PostgresBoundCluster
from kube_job_runner.adapters.postgres.stores.job_reader import PostgresJobReader
from kube_job_runner.adapters.postgres.stores.log_store import PostgresLogStore
from kube_job_runner.adapters.postgres.stores.observe_store import PostgresObserveStore, PostgresWatchReader
from kube_job_runner.adapters.postgres.stores.process_store import PostgresProcessStore
from kube_job_runner.adapters.postgres.stores.reconcile_store import PostgresReconcileStore
from kube_job_runner.adapters.postgres.stores.submit_store import PostgresSubmitStore
from kube_job_runner.adapters.postgres.stores.sweep_store import PostgresSweepStore
from kube_job_runner.adapters.postgres.stores.token_store import PostgresTokenStore
from kube_job_runner.adapters.postgres.wakeup import PostgresWakeup
from kube_job_runner.ports import Fence

__all__ = [
    "DatabaseClock",
    "Fenced",
    "Postgres",
    "PostgresLogStore",
    "bound_clusters",
    "connect",
    "embedded",
    "may_migrate",
    "migrate",
    "roles",
    "run_checks",
]


class Postgres:
    """One process's access to the database: a part for each port, all over one pool of connections."""

    def __init__(self, url: str, *, pool: Pool, poll_seconds: float = POLL_SECONDS) -> None:
        self.url = url
        self.pool = pool
        self.submit_store = PostgresSubmitStore(pool)
        self.job_reader = PostgresJobReader(pool)
        self.process_store = PostgresProcessStore(pool)
        self.observe_store = PostgresObserveStore(pool)
        self.watch_reader = PostgresWatchReader(pool)
        self.sweep_store = PostgresSweepStore(pool)
        self.reconcile_store = PostgresReconcileStore(pool)
        self.bound_cluster = PostgresBoundCluster(pool)
        self.token_store = PostgresTokenStore(pool)
        self.logs = PostgresLogStore(pool)
        self.wakeup = PostgresWakeup(url)
        self.queue = PostgresQueue(pool, self.wakeup, poll_seconds=poll_seconds)
        self.leases = PostgresLeases(url)
        self.health = PostgresHealth(pool, url)

    def clock(self) -> DatabaseClock:
        """Return the database's clock. It must be synchronized now and then."""
        return DatabaseClock(self.pool)

    async def lacking_rights(self, components: Iterable[str], *, role_prefix: str) -> str | None:
        """Return what our role lacks for these components, with the remedy; None when it lacks nothing."""
        return await roles.lacking(self.pool, components, prefix=role_prefix)

    def fenced(self, fence: Fence) -> Fenced:
        """Return the parts that the leader of that term writes with."""
        pool = FencedPool(self.pool, fence)
        return Fenced(
            observe_store=PostgresObserveStore(pool),
            sweep_store=PostgresSweepStore(pool),
            reconcile_store=PostgresReconcileStore(pool),
            logs=PostgresLogStore(pool),
            queue=PostgresQueue(pool, self.wakeup),
        )

    async def close(self) -> None:
        """Let the work in flight end, then close every connection."""
        await self.wakeup.close()
        await self.health.close()
        await self.leases.close()
        await self.pool.close()


class Fenced(msgspec.Struct, frozen=True, kw_only=True):
    """The parts that a leader writes with. Every call raises `LeaseLost` once another process has taken the lease."""

    observe_store: PostgresObserveStore
    sweep_store: PostgresSweepStore
    reconcile_store: PostgresReconcileStore
    logs: PostgresLogStore
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
        ConfigurationError: it refuses us, the URL is wrong, or leads to a transaction pooler.
    """
    await pooler_check.check(url)
    pool = await open_pool(url, size=pool_size, acquire_seconds=acquire_seconds, statement_seconds=statement_seconds)
    opened = Postgres(url, pool=pool, poll_seconds=poll_seconds)
    opened.wakeup.start()
    return opened
