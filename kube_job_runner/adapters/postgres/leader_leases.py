"""Leases of components, and the fence that keeps a former leader from writing.

The lease is renewed on a connection of its own, so that a full pool costs nobody the lease, and so that the end of that
connection tells the standby that its holder is gone. The fence is a row lock at the start of every transaction: PostgreSQL
itself puts each write of a leader entirely before the change of hands, or refuses it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import asyncpg

from kube_job_runner.adapters.postgres import failure, statements
from kube_job_runner.adapters.postgres.pool import Connection, Pool
from kube_job_runner.domain.errors import LeaseLost
from kube_job_runner.ports import Fence
from kube_job_runner.telemetry import loggers, metrics

SQL = statements.load("leases")
ANSWER_SECONDS = 5.0

_log = loggers.get_logger(__name__)
_T = TypeVar("_T")


class Leases:
    """`LeaseStore` on PostgreSQL."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._connection: asyncpg.Connection[Any] | None = None
        self._one_at_a_time = asyncio.Lock()

    async def acquire(self, component: str, *, holder: str, lease_seconds: float) -> Fence | None:
        """Take the lease when nobody holds it; None when somebody does."""
        epoch = await self._fetchval(SQL["acquire"], component, holder, lease_seconds)
        return None if epoch is None else Fence(component=component, epoch=epoch)

    async def renew(self, fence: Fence, *, lease_seconds: float) -> None:
        """Hold the lease for `lease_seconds` from now."""
        if await self._fetchval(SQL["renew"], fence.component, fence.epoch, lease_seconds) is None:
            raise lost(fence)

    async def release(self, fence: Fence) -> None:
        """Give the lease back; one that another process has taken is left alone."""
        await self._fetchval(SQL["release"], fence.component, fence.epoch)

    async def close(self) -> None:
        """Close the connection; what is still held on it may be taken by others at once."""
        self._drop()

    async def _fetchval(self, statement: str, *arguments: Any) -> Any:
        with failure.translated():
            async with self._one_at_a_time:
                try:
                    async with asyncio.timeout(ANSWER_SECONDS):
                        return await (await self._connected()).fetchval(statement, *arguments)
                except BaseException:
                    self._drop()  # its state is unknown; the next call begins with a fresh one
                    raise

    async def _connected(self) -> asyncpg.Connection[Any]:
        if self._connection is None or self._connection.is_closed():
            self._connection = await asyncpg.connect(
                self._url, timeout=ANSWER_SECONDS, server_settings={"application_name": "kube-job-runner leases"}
            )
        return self._connection

    def _drop(self) -> None:
        if self._connection is not None:
            self._connection.terminate()
            self._connection = None


class FencedPool(Pool):
    """A pool whose every transaction is refused when the lease has changed hands; it shares the connections of another."""

    def __init__(self, pool: Pool, fence: Fence) -> None:  # not a pool of its own: what it inherits goes through `run`
        self._shared = pool
        self._fence = fence

    async def run(self, work: Callable[[Connection], Awaitable[_T]], *, transaction: bool = False) -> _T:
        """Return the result of `work(connection)`, always in a transaction, which begins with the fence.

        Raises:
            LeaseLost: another process has taken the lease; nothing was written.
        """

        async def fenced(connection: Connection) -> _T:
            if await connection.fetchval(SQL["fence"], self._fence.component, self._fence.epoch) is None:
                metrics.fenced_writes.labels(self._fence.component).inc()
                _log.warning("a write was refused", component=self._fence.component, epoch=self._fence.epoch)
                raise lost(self._fence)
            return await work(connection)

        return await self._shared.run(fenced, transaction=True)

    async def close(self) -> None:
        """Do nothing: the connections belong to the pool that they are shared with."""


def lost(fence: Fence) -> LeaseLost:
    """Return the error for a lease that another process has taken."""
    return LeaseLost(f"another process has taken the lease of the {fence.component} since epoch {fence.epoch}")
