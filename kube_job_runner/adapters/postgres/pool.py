"""Connections: bounded waits, the domain's errors, one more try after a deadlock, and no leak when a caller is cancelled."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, TypeAlias, TypeVar

import asyncpg

from kube_job_runner.adapters.postgres import failure
from kube_job_runner.domain.errors import DatabaseUnavailable

Connection: TypeAlias = "asyncpg.pool.PoolConnectionProxy[asyncpg.Record]"
_T = TypeVar("_T")

ACQUIRE_SECONDS = 10.0
STATEMENT_SECONDS = 60.0
_TRIES = 4
_LAST_SECONDS = 15.0  # how long a statement in flight may go on after its caller was cancelled
_CLOSE_SECONDS = 5.0


class Pool:
    """A pool of connections to one database."""

    def __init__(self, pool: asyncpg.Pool[asyncpg.Record]) -> None:
        self._pool = pool

    async def run(self, work: Callable[[Connection], Awaitable[_T]], *, transaction: bool = False) -> _T:
        """Return the result of `work(connection)`, in a transaction if asked for.

        A transaction that lost a deadlock or a serialization race runs again, so `work` must be safe to repeat. A caller
        that is cancelled waits until what is in flight has ended, so that a commit is never cut in the middle.

        Raises:
            DatabaseUnavailable: the database does not answer, or no connection was free in time.
            TemporaryError, PermanentError, ConfigurationError: as `failure.translate` says.
        """
        return await _to_its_end(self._tried(work, transaction=transaction))

    async def _tried(self, work: Callable[[Connection], Awaitable[_T]], *, transaction: bool) -> _T:
        with failure.translated():
            for attempt in range(_TRIES):
                try:
                    return await self._once(work, transaction=transaction)
                except asyncpg.PostgresError as error:
                    if not failure.retryable(error) or attempt == _TRIES - 1:
                        raise
                    await asyncio.sleep(0.01 * 2**attempt)
        raise AssertionError("unreachable")  # pragma: no cover

    async def _once(self, work: Callable[[Connection], Awaitable[_T]], *, transaction: bool) -> _T:
        try:
            connection = await self._pool.acquire(timeout=ACQUIRE_SECONDS)
        except TimeoutError:
            raise DatabaseUnavailable(f"no database connection was free within {ACQUIRE_SECONDS:g} s") from None
        try:
            if not transaction:
                return await work(connection)
            async with connection.transaction():
                return await work(connection)
        except Exception as error:
            if failure.broken(error):
                connection.terminate()
            raise
        finally:
            await self._pool.release(connection, timeout=_CLOSE_SECONDS)

    async def fetch(self, statement: str, *arguments: Any) -> list[asyncpg.Record]:
        """Return the rows of one statement."""
        return await self.run(lambda connection: connection.fetch(statement, *arguments))

    async def fetchrow(self, statement: str, *arguments: Any) -> asyncpg.Record | None:
        """Return the first row of one statement, or None."""
        return await self.run(lambda connection: connection.fetchrow(statement, *arguments))

    async def execute(self, statement: str, *arguments: Any) -> int:
        """Run one statement; return how many rows it touched."""
        status = await self.run(lambda connection: connection.execute(statement, *arguments))
        last = str(status).rpartition(" ")[2]
        return int(last) if last.isdigit() else 0

    async def close(self) -> None:
        """Close all connections, within a bound."""
        try:
            async with asyncio.timeout(_CLOSE_SECONDS):
                await self._pool.close()
        except (TimeoutError, OSError, asyncpg.PostgresError, asyncpg.InterfaceError):
            self._pool.terminate()


async def _to_its_end(work: Coroutine[Any, Any, _T]) -> _T:
    task = asyncio.ensure_future(work)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        if not task.done():
            await asyncio.wait({task}, timeout=_LAST_SECONDS)
        if task.done():
            task.cancelled() or task.exception()  # looked at, so that the loop does not complain of it
        else:
            task.cancel()
        raise


async def open_pool(url: str, *, size: int) -> Pool:
    """Return a pool of at most `size` connections.

    Raises:
        DatabaseUnavailable: the database does not answer.
        ConfigurationError: it refuses us.
    """
    with failure.translated():
        pool = await asyncpg.create_pool(
            url,
            min_size=1,
            max_size=size,
            max_inactive_connection_lifetime=300.0,
            command_timeout=STATEMENT_SECONDS + 5.0,
            timeout=ACQUIRE_SECONDS,
            server_settings={
                "application_name": "kube-job-runner",
                "statement_timeout": f"{int(STATEMENT_SECONDS * 1000)}",
                "idle_in_transaction_session_timeout": "60000",
                "jit": "off",
            },
        )
    return Pool(pool)
