"""Reads of the watchers: the cluster jobs that a relist is compared with."""

from kube_job_runner.adapters.postgres import statements
from kube_job_runner.adapters.postgres.pool import Pool
from kube_job_runner.ports import KnownClusterJob

SQL = statements.load("observe")


class PostgresObserveStore:
    """`ObserveStore` on PostgreSQL."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def known_cluster_jobs(self) -> list[KnownClusterJob]:
        return [KnownClusterJob(**row) for row in await self._pool.fetch(SQL["known_cluster_jobs"])]
