"""The pool of connections: bounded waits, errors of the domain, retries after a deadlock, and no leak after a cancel."""

from __future__ import annotations

import asyncio
import contextlib
import functools
from collections.abc import Awaitable, Callable
from typing import Any, TypeAlias, TypeVar

import asyncpg

from kube_job_runner.adapters.postgres import failure, session
from kube_job_runner.domain.backoff import Backoff
from kube_job_runner.domain.errors import ConfigurationError, DatabaseUnavailable, PermanentError, TemporaryError
from kube_job_runner.telemetry import metrics

Connection: TypeAlias = "asyncpg.pool.PoolConnectionProxy[asyncpg.Record]"
T = TypeVar("T")

ACQUIRE_SECONDS = 5.0
CONNECT_SECONDS = 5.0
STATEMENT_SECONDS = 30.0
IDLE_SECONDS = 10.0
"""Our transactions never pause between two statements. One that does belongs to a frozen process, and holds locks."""
LOCK_SECONDS = 10.0
_TRIES = 5
_RETRY_SECONDS = 0.02
_RETRY_MAX_SECONDS = 0.08
_RELEASE_SECONDS = 5.0
_CLOSE_SECONDS = 10.0
_KINDS = {
    "unavailable": DatabaseUnavailable,
    "temporary": TemporaryError,
    "refused": PermanentError,
    "configuration": ConfigurationError,
}


class Pool:
    """A pool of connections to one database."""

    def __init__(self, pool: asyncpg.Pool[asyncpg.Record], *, acquire_seconds: float, size: int = 0) -> None:
        self._pool = pool
        self._acquire_seconds = acquire_seconds
        self._size = size
        self._working: set[asyncio.Task[Any]] = set()

    async def run(self, work: Callable[[Connection], Awaitable[T]], *, transaction: bool = False) -> T:
        """Return the result of `work(connection)`, in a transaction if asked for.

        A transaction that lost a deadlock or a serialization race, or that met a change of the schema, runs again, so `work`
        must be safe to repeat. Once it has begun, it runs to its end, even if the caller is cancelled. So a commit is never
        interrupted, and the connection always returns to the pool.

        Raises:
            DatabaseUnavailable: the database does not answer, or no connection was free in time.
            TemporaryError, PermanentError, ConfigurationError: see `failure.translate`.
        """
        try:
            return await self._run(work, transaction=transaction)
        except Exception as error:
            metrics.db_errors.labels(_kind(error)).inc()
            raise

    async def _run(self, work: Callable[[Connection], Awaitable[T]], *, transaction: bool) -> T:
        with failure.translated():
            with metrics.db_wait_seconds.time():
                connection = await self._acquire()
            task = asyncio.ensure_future(self._use(connection, work, transaction=transaction))
            self._working.add(task)
            task.add_done_callback(self._ended)
            return await asyncio.shield(task)

    def _ended(self, task: asyncio.Task[Any]) -> None:
        self._working.discard(task)
        if not task.cancelled():
            task.exception()  # retrieved, because a cancelled caller does not, and the loop would warn

    async def _acquire(self) -> Connection:
        try:
            return await self._pool.acquire(timeout=self._acquire_seconds)
        except TimeoutError:
            raise DatabaseUnavailable(f"no database connection was free within {self._acquire_seconds:g} s") from None

    async def _use(self, connection: Connection, work: Callable[[Connection], Awaitable[T]], *, transaction: bool) -> T:
        try:
            with metrics.db_seconds.time(), metrics.db_connections.track_inprogress():
                return await self._tried(connection, work, transaction=transaction)
        except BaseException as error:
            if not isinstance(error, Exception) or failure.broken(error):
                with contextlib.suppress(asyncpg.InterfaceError):  # it has ended already, and the pool knows
                    connection.terminate()
            if failure.sqlstate(error) == failure.READ_ONLY:
                await self._pool.expire_connections()  # the other connections lead to the same demoted server
            if failure.sqlstate(error) == failure.NO_RIGHT:
                raise failure.lacks_right(error, connection.get_settings().session_authorization) from error
            raise
        finally:
            with contextlib.suppress(OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError):
                await self._pool.release(connection, timeout=_RELEASE_SECONDS)

    async def _tried(
        self, connection: Connection, work: Callable[[Connection], Awaitable[T]], *, transaction: bool
    ) -> T:
        retries = Backoff(first_seconds=_RETRY_SECONDS, max_seconds=_RETRY_MAX_SECONDS)
        for _ in range(1, _TRIES):
            try:
                return await _once(connection, work, transaction=transaction)
            except (asyncpg.PostgresError, asyncpg.InternalClientError) as error:
                if not failure.retryable(error):
                    raise
                await asyncio.sleep(retries.next())
        return await _once(connection, work, transaction=transaction)

    async def fetch(self, statement: str, *arguments: Any) -> list[asyncpg.Record]:
        """Return the rows of one statement."""
        return await self.run(lambda connection: connection.fetch(statement, *arguments))

    async def fetchrow(self, statement: str, *arguments: Any) -> asyncpg.Record | None:
        """Return the first row of one statement, or None."""
        return await self.run(lambda connection: connection.fetchrow(statement, *arguments))

    async def execute(self, statement: str, *arguments: Any) -> int:
        """Run one statement; return how many rows it changed."""
        return changed_rows(await self.run(lambda connection: connection.execute(statement, *arguments)))

    async def close(self) -> None:
        """Let the work in flight end, then close all connections. Both have a time limit."""
        if self._working:
            await asyncio.wait(self._working, timeout=_CLOSE_SECONDS)
        metrics.db_connections_max.dec(self._size)
        try:
            async with asyncio.timeout(_CLOSE_SECONDS):
                await self._pool.close()
        except (TimeoutError, OSError, asyncpg.PostgresError, asyncpg.InterfaceError):
            self._pool.terminate()


def changed_rows(status: str) -> int:
    """Return the number of rows in a command status: 3 for `UPDATE 3`, 0 for `LISTEN`."""
    last = status.rpartition(" ")[2]
    return int(last) if last.isdigit() else 0


def _kind(error: Exception) -> str:
    for kind, type_ in _KINDS.items():
        if isinstance(error, type_):
            return kind
    return "other"


async def _once(connection: Connection, work: Callable[[Connection], Awaitable[T]], *, transaction: bool) -> T:
    if not transaction:
        return await work(connection)
    async with connection.transaction():
        return await work(connection)


async def _keep(_connection: object) -> None:
    """Skip the reset of a returned connection: our statements do not change its session, and a reset costs a round trip."""


async def open_pool(
    url: str, *, size: int, acquire_seconds: float = ACQUIRE_SECONDS, statement_seconds: float = STATEMENT_SECONDS
) -> Pool:
    """Return a pool of at most `size` connections.

    Raises:
        DatabaseUnavailable: the database does not answer.
        ConfigurationError: it refuses us, or the URL is wrong.
    """
    with failure.translated():
        pool = await asyncpg.create_pool(
            url,
            min_size=1,
            max_size=size,
            max_inactive_connection_lifetime=300.0,
            command_timeout=statement_seconds + 5.0,
            timeout=CONNECT_SECONDS,
            reset=_keep,
            init=functools.partial(session.prepare_pooled, lock_seconds=LOCK_SECONDS),
            server_settings={
                "application_name": "kube-job-runner",
                "statement_timeout": str(int(statement_seconds * 1000)),
                "idle_in_transaction_session_timeout": str(int(IDLE_SECONDS * 1000)),
                # The queue can grow from zero to a million rows while one cached plan lives.
                "plan_cache_mode": "force_custom_plan",
                # Our rows are in memory or on an SSD. With the default of 4, the planner prefers to scan whole tables.
                "random_page_cost": "1.1",
                "jit": "off",
            },
        )
    metrics.db_connections_max.inc(size)
    return Pool(pool, size=size, acquire_seconds=acquire_seconds)
