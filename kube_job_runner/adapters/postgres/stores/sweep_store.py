"""Work of the sweeper in the store: checks that are due, and removal of old rows."""

import time
from uuid import UUID

import asyncpg

from kube_job_runner.adapters.postgres import message_queue, rows, statements
from kube_job_runner.adapters.postgres.pool import Connection, Pool
from kube_job_runner.domain import messages
from kube_job_runner.domain.errors import PermanentError, TemporaryError
from kube_job_runner.ports import HistoryRemoved
from kube_job_runner.telemetry import loggers

SQL = statements.load("sweep")
SEND = statements.load("queue")["send"]
PARTITIONS_SECONDS = 6 * 3600.0
DEAD_ROWS = 100_000
"""With fewer dead rows than this, vacuum is not behind: PostgreSQL starts it only after a number of changes."""
_FIRST = UUID(int=0)

_log = loggers.get_logger(__name__)


class PostgresSweepStore:
    """`SweepStore` on PostgreSQL."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._partitions_at = float("-inf")
        self._transitions_after = _FIRST

    async def send_due_checks(self, *, limit: int, rearm_seconds: float) -> int:
        async def work(connection: Connection) -> int:
            due = await connection.fetch(SQL["due_jobs"], limit, rearm_seconds)
            if due:
                checks = [messages.Outgoing(message=messages.Check(job_id=row["id"])) for row in due]
                await connection.fetch(SEND, message_queue.hints(checks), *rows.MESSAGES.encode(checks))
            return len(due)

        return await self._pool.run(work, transaction=True)

    async def expire_idempotency_keys(self, *, older_than_seconds: float, limit: int) -> int:
        return await self._pool.execute(SQL["expire_idempotency_keys"], older_than_seconds, limit)

    async def delete_old_jobs(self, *, older_than_seconds: float, limit: int) -> int:
        async def work(connection: Connection) -> int:
            old = await connection.fetch(SQL["old_jobs"], older_than_seconds, limit)
            if old:
                await connection.execute(SQL["delete_jobs"], [row["id"] for row in old])
            return len(old)

        await self._maintain_partitions()
        return await self._pool.run(work, transaction=True)

    async def delete_old_transitions(self, *, older_than_seconds: float, limit: int) -> HistoryRemoved:
        row = await self._pool.fetchrow(SQL["old_transitions"], older_than_seconds, limit, self._transitions_after)
        assert row is not None
        more = row["seen"] >= limit
        self._transitions_after = row["last"] if more else _FIRST
        return HistoryRemoved(deleted=row["deleted"], more=more)

    async def delete_old_dead_letters(self, *, older_than_seconds: float, limit: int) -> int:
        return await self._pool.execute(SQL["old_dead_letters"], older_than_seconds, limit)

    async def vacuum_behind(self, *, dead_rows: int = DEAD_ROWS) -> str | None:
        """Return the table, by the server's statistics, with the most dead rows, if there are more than `dead_rows`."""
        row = await self._pool.fetchrow(SQL["vacuum_behind"], dead_rows)
        return None if row is None else str(row["relname"])

    async def _maintain_partitions(self) -> None:
        """Make the partitions of the coming months. If it is late, rows go to the default partition; that is harmless."""
        if time.monotonic() - self._partitions_at < PARTITIONS_SECONDS:
            return

        async def work(connection: Connection) -> None:
            await connection.execute("SET LOCAL lock_timeout = '2s'")
            await connection.fetchval(SQL["maintain_partitions"])

        try:
            await self._pool.run(work, transaction=True)
        except (TemporaryError, PermanentError, asyncpg.PostgresError) as error:
            _log.warning(
                "partitions were not maintained; the next sweep tries again",
                action="partitions.maintain",
                error=str(error),
            )
        else:
            self._partitions_at = time.monotonic()
