"""Leases of components: acquire, renew, release.

They have their own connection. So no lease is lost while the pool is full, and a standby sees at once that the holder's
connection has ended.
"""

from typing import Any

from kube_job_runner.adapters.postgres import fence as fences
from kube_job_runner.adapters.postgres import statements
from kube_job_runner.adapters.postgres.direct_connections import KeptConnection
from kube_job_runner.ports import Fence

SQL = statements.load("leases")
ANSWER_SECONDS = 5.0


class PostgresLeases:
    """`LeaseStore` on PostgreSQL."""

    def __init__(self, url: str) -> None:
        self._connection = KeptConnection(url, name="kube-job-runner leases", answer_seconds=ANSWER_SECONDS)

    async def acquire(self, component: str, *, holder: str, lease_seconds: float) -> Fence | None:
        epoch = await self._fetchval("acquire", component, holder, lease_seconds)
        return None if epoch is None else Fence(component=component, epoch=epoch)

    async def renew(self, fence: Fence, *, lease_seconds: float) -> None:
        if await self._fetchval("renew", fence.component, fence.epoch, lease_seconds) is None:
            raise fences.lost(fence)

    async def release(self, fence: Fence) -> None:
        await self._fetchval("release", fence.component, fence.epoch)

    async def close(self) -> None:
        """Close the connection. Others may take the leases that are still held on it at once."""
        self._connection.drop()

    async def _fetchval(self, statement: str, *arguments: Any) -> Any:
        return await self._connection.use(lambda connection: connection.fetchval(SQL[statement], *arguments))
