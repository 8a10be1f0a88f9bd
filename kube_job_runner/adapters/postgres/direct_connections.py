"""Connections outside the pool: one for a single task, and one that is kept open for one purpose.

Leases and the health check must work while the pool is full, so each has its own connection.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, TypeAlias, TypeVar

import asyncpg

from kube_job_runner.adapters.postgres import failure, session

Direct: TypeAlias = "asyncpg.Connection[Any]"
T = TypeVar("T")

_CONNECT_SECONDS = 10.0
_CLOSE_SECONDS = 5.0


@contextlib.asynccontextmanager
async def connected(url: str, *, name: str, statement_cache_size: int = 100) -> AsyncIterator[Direct]:
    """Connect for the body of an `async with`, under the application name `name`.

    Raises:
        DatabaseUnavailable: the database does not answer.
        ConfigurationError: it refuses us, or the URL is wrong.
    """
    with failure.translated():
        connection = await asyncpg.connect(
            url,
            timeout=_CONNECT_SECONDS,
            server_settings={"application_name": name},
            statement_cache_size=statement_cache_size,
        )
        try:
            await session.prepare(connection)
            yield connection
        finally:
            await connection.close(timeout=_CLOSE_SECONDS)


class KeptConnection:
    """One connection that is opened at its first use, and opened again after an error. One caller uses it at a time."""

    def __init__(self, url: str, *, name: str, answer_seconds: float) -> None:
        self._url = url
        self._name = name
        self._answer_seconds = answer_seconds
        self._connection: Direct | None = None
        self._one_at_a_time = asyncio.Lock()

    async def use(self, work: Callable[[Direct], Awaitable[T]]) -> T:
        """Return the result of `work(connection)`. Connecting and work together may take `answer_seconds`.

        Raises:
            DatabaseUnavailable: there was no answer in time.
            KjrError: see `failure.translate`.
        """
        with failure.translated():
            async with self._one_at_a_time:
                try:
                    async with asyncio.timeout(self._answer_seconds):
                        return await work(await self._connected())
                except BaseException:
                    self.drop()  # its state is unknown
                    raise

    async def _connected(self) -> Direct:
        if self._connection is None or self._connection.is_closed():
            self._connection = await asyncpg.connect(
                self._url,
                timeout=self._answer_seconds,
                server_settings={"application_name": self._name},
            )
        return self._connection

    def drop(self) -> None:
        """Close the connection at once; the next use opens another."""
        if self._connection is not None:
            self._connection.terminate()
            self._connection = None
