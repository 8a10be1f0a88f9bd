"""The cluster that the database belongs to: a part of every store whose component uses the cluster."""

from uuid import UUID

from kube_job_runner.adapters.postgres import statements
from kube_job_runner.adapters.postgres.pool import Connection, Pool
from kube_job_runner.ports import ClusterIdentity

SQL = statements.load("cluster_identity")


class PostgresBoundCluster:
    """`BoundCluster` on PostgreSQL."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def bind_cluster(self, identity: ClusterIdentity) -> list[ClusterIdentity]:
        bound = await self.bound_clusters()
        if any((known.kind, known.evidence) == (identity.kind, identity.evidence) for known in bound):
            return bound
        await self._pool.execute(SQL["bind"], identity.kind, identity.evidence, identity.uid, identity.place)
        return await self.bound_clusters()

    async def bound_clusters(self) -> list[ClusterIdentity]:
        """Return the identities that the database is bound to."""
        return [ClusterIdentity(**dict(row)) for row in await self._pool.fetch(SQL["bound"])]

    async def count_live(self) -> tuple[int, int]:
        """Return how many unfinished jobs may be in the cluster, and how many wait for admission."""
        row = await self._pool.fetchrow(SQL["count_live"])
        assert row is not None
        return row["live"], row["waiting"]

    async def in_cluster(self, *, after: UUID, limit: int) -> list[UUID]:
        """Return a page of the jobs of which something may be in the cluster, by id."""
        return [row["id"] for row in await self._pool.fetch(SQL["in_cluster"], after, limit)]

    async def accept_cluster(self, identity: ClusterIdentity) -> None:
        """Bind the database to this identity alone. Only the owner of the tables may."""

        async def work(connection: Connection) -> None:
            await connection.execute(SQL["forget"])
            await connection.execute(SQL["bind"], identity.kind, identity.evidence, identity.uid, identity.place)

        await self._pool.run(work, transaction=True)
