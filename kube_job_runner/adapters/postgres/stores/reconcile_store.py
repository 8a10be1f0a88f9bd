"""Reads for the comparison of the store with the cluster: our identity, and the cluster jobs that should exist."""

from collections.abc import Collection
from uuid import UUID

from kube_job_runner.adapters.postgres import statements
from kube_job_runner.adapters.postgres.stores.bound_cluster import PostgresBoundCluster
from kube_job_runner.domain.errors import ConfigurationError
from kube_job_runner.ports import Claim, RecordedClusterJob

SQL = statements.load("reconcile")
_FIRST = (UUID(int=0), 0)


class PostgresReconcileStore(PostgresBoundCluster):
    """`ReconcileStore` on PostgreSQL."""

    async def installation_id(self) -> str:
        row = await self._pool.fetchrow(SQL["installation"])
        if row is None:
            raise ConfigurationError("the table `installation` is empty: INSERT INTO installation DEFAULT VALUES")
        return str(row["id"])

    async def recorded_cluster_jobs(self, *, after: tuple[UUID, int] | None, limit: int) -> list[RecordedClusterJob]:
        found = await self._pool.fetch(SQL["recorded_cluster_jobs"], *(after or _FIRST), limit)
        return [RecordedClusterJob(**dict(row) | {"pod_uids": tuple(row["pod_uids"])}) for row in found]

    async def claims(self, attempts: Collection[tuple[UUID, int]]) -> dict[tuple[UUID, int], Claim]:
        keys = list(attempts)
        rows = await self._pool.fetch(SQL["claims"], [key[0] for key in keys], [key[1] for key in keys])
        return {
            (row["job_id"], row["number"]): Claim(
                job_ended=row["job_ended"],
                job_attempt=row["job_attempt"],
                cluster_uid=row["cluster_uid"],
                gone=row["gone"],
            )
            for row in rows
        }
