"""The fence of a leader: its writes are refused once another process holds the lease.

It is a row lock on the lease at the start of every transaction. PostgreSQL itself then puts each write of a leader entirely
before the next leader takes over, or refuses it.
"""

from collections.abc import Awaitable, Callable
from typing import TypeVar

from kube_job_runner.adapters.postgres import statements
from kube_job_runner.adapters.postgres.pool import Connection, Pool
from kube_job_runner.domain.errors import LeaseLost
from kube_job_runner.ports import Fence
from kube_job_runner.telemetry import loggers, metrics

SQL = statements.load("leases")

_log = loggers.get_logger(__name__)
_T = TypeVar("_T")


class FencedPool(Pool):
    """A pool for one leader: its transactions are refused after the lease was lost. It shares another pool's connections."""

    def __init__(self, pool: Pool, fence: Fence) -> None:  # no pool of its own: all inherited methods call `run`
        self._shared = pool
        self._fence = fence

    async def run(self, work: Callable[[Connection], Awaitable[_T]], *, transaction: bool = False) -> _T:
        """Return the result of `work(connection)`. It always runs in a transaction, which begins with the fence.

        Raises:
            LeaseLost: another process has taken the lease; nothing was written.
        """

        async def fenced(connection: Connection) -> _T:
            if await connection.fetchval(SQL["fence"], self._fence.component, self._fence.epoch) is None:
                metrics.fenced_writes.labels(self._fence.component).inc()
                _log.warning(
                    "a write was refused",
                    action="lease.fence",
                    component=self._fence.component,
                    epoch=self._fence.epoch,
                )
                raise lost(self._fence)
            return await work(connection)

        return await self._shared.run(fenced, transaction=True)

    async def close(self) -> None:
        """Do nothing: the connections belong to the shared pool."""


def lost(fence: Fence) -> LeaseLost:
    """Return the error for a lease that another process has taken."""
    return LeaseLost(f"another process has taken the lease of the {fence.component} since epoch {fence.epoch}")
