"""Whether the database can serve, asked over a connection of its own, so that a full pool does not look like a dead server."""

from __future__ import annotations

import asyncio
from typing import Any

import asyncpg

from kube_job_runner.adapters.postgres import failure, schema, statements
from kube_job_runner.adapters.postgres.pool import Pool
from kube_job_runner.domain.errors import DatabaseUnavailable
from kube_job_runner.ports import QueueDepth

SQL = statements.load("health")
CHECK_SECONDS = 3.0
COUNT_LIMIT = 100_000  # counting stops here: metrics must not cost more than the work


class HealthCheck:
    """`Health` on PostgreSQL."""

    _url: str
    _pool: Pool
    _probe: asyncpg.Connection[Any] | None = None
    _probing: asyncio.Lock

    async def check(self) -> dict[str, str | None]:
        """Return the readiness checks by name (`database`, `schema`): None when good, else what is wrong."""
        async with self._probing:
            try:
                async with asyncio.timeout(CHECK_SECONDS):
                    return await self._check()
            except Exception as error:  # noqa: BLE001 - a health check reports what is wrong; it never raises
                self._drop_probe()
                said = str(failure.translate(error)) or type(error).__name__
                return {"database": said, "schema": "unknown: the database does not answer"}

    async def _check(self) -> dict[str, str | None]:
        if self._probe is None or self._probe.is_closed():
            self._probe = await asyncpg.connect(
                self._url, timeout=CHECK_SECONDS, server_settings={"application_name": "kube-job-runner health"}
            )
        if not await self._probe.fetchval(SQL["writable"]):
            self._drop_probe()  # after a failover the same address may lead to another server
            raise DatabaseUnavailable("the database is read-only")
        applied = await schema.read_applied(self._probe)
        return {"database": None, "schema": schema.problem(applied, schema.known())}

    def _drop_probe(self) -> None:
        if self._probe is not None:
            self._probe.terminate()
            self._probe = None

    async def depth(self) -> QueueDepth:
        """Return the depth figures for metrics: exact up to 100,000 of a kind; ended jobs as of the last ANALYZE."""
        live = await self._pool.fetch(SQL["live_jobs"], COUNT_LIMIT)
        ended = await self._pool.fetch(SQL["ended_jobs"])
        queues = await self._pool.fetch(SQL["jobs_by_queue"], COUNT_LIMIT)
        queue = await self._pool.fetchrow(SQL["messages"], COUNT_LIMIT)
        assert queue is not None
        return QueueDepth(
            jobs_by_state={row["state"]: row["jobs"] for row in (*live, *ended)},
            jobs_by_queue={(row["queue"], row["state"]): row["jobs"] for row in queues},
            messages=queue["messages"],
            oldest_message_seconds=queue["oldest_seconds"],
            outbox_oldest_seconds=queue["oldest_seconds"],
            dead_letters=queue["dead_letters"],
        )
