"""Reads of the web-server: jobs, lists, records, versions."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Collection
from typing import Any
from uuid import UUID

import asyncpg

from kube_job_runner.adapters.postgres import rows, statements
from kube_job_runner.adapters.postgres.pool import Connection, Pool
from kube_job_runner.adapters.postgres.stores import job_lists
from kube_job_runner.domain.decide import parking
from kube_job_runner.domain.decide.admission import POSITION_MAX, QueueStanding
from kube_job_runner.domain.errors import DatabaseUnavailable
from kube_job_runner.domain.job import Anomaly, Attempt, Job, Transition
from kube_job_runner.domain.limits import AdmissionLimits
from kube_job_runner.ports import JobFilter

SQL = statements.load("read")
LISTS_AT_ONCE = 3
LIST_SECONDS = 10.0
"""A list that takes longer is cancelled in the database: nobody should wait for it, and others need the CPU."""
LIST_WAIT_SECONDS = 5.0


class PostgresJobReader:
    """`WebReader` on PostgreSQL."""

    def __init__(self, pool: Pool, *, list_seconds: float = LIST_SECONDS) -> None:
        self._pool = pool
        self._list_seconds = list_seconds
        self._places = asyncio.Semaphore(LISTS_AT_ONCE)

    async def get_job(self, job_id: UUID) -> Job | None:
        row = await self._pool.fetchrow(SQL["get_job"], job_id)
        return None if row is None else rows.job(row)

    async def get_spec(self, job_id: UUID) -> bytes | None:
        row = await self._pool.fetchrow(SQL["get_spec"], job_id)
        return None if row is None else row["spec"]

    async def list_jobs(self, query: JobFilter) -> list[Job]:
        statement, arguments = job_lists.query(query)
        async with self._place_for_a_list():
            found = await self._pool.run(
                lambda connection: self._bounded(connection, statement, arguments), transaction=True
            )
        return [rows.job(row) for row in found]

    async def _bounded(self, connection: Connection, statement: str, arguments: list[Any]) -> list[asyncpg.Record]:
        await connection.execute(f"SET LOCAL statement_timeout = {int(self._list_seconds * 1000)}")
        return await connection.fetch(statement, *arguments)

    @contextlib.asynccontextmanager
    async def _place_for_a_list(self) -> AsyncIterator[None]:
        """Wait for a place: only a few lists run at once, so that slow ones leave connections to everything else."""
        try:
            async with asyncio.timeout(LIST_WAIT_SECONDS):
                await self._places.acquire()
        except TimeoutError:
            raise DatabaseUnavailable(f"too many lists are read; none ended within {LIST_WAIT_SECONDS:g} s") from None
        try:
            yield
        finally:
            self._places.release()

    async def list_attempts(self, job_id: UUID) -> list[Attempt]:
        return [rows.attempt(row) for row in await self._pool.fetch(SQL["list_attempts"], job_id)]

    async def list_transitions(self, job_id: UUID) -> list[Transition]:
        return [rows.transition(row) for row in await self._pool.fetch(SQL["list_transitions"], job_id)]

    async def list_anomalies(self, job_id: UUID) -> list[Anomaly]:
        return [rows.anomaly(row) for row in await self._pool.fetch(SQL["list_anomalies"], job_id)]

    async def versions(self, job_ids: Collection[UUID]) -> dict[UUID, int]:
        if not job_ids:
            return {}
        found = await self._pool.fetch(SQL["versions"], list(job_ids))
        return {row["id"]: row["version"] for row in found}

    async def queue_standing(self, job_id: UUID, limits: AdmissionLimits) -> QueueStanding | None:
        row = await self._pool.fetchrow(SQL["queue_standing"], job_id, POSITION_MAX)
        if row is None:
            return None
        return QueueStanding(
            queue=row["queue"],
            ahead=row["ahead"],
            queue_in_flight=row["queue_in_flight"],
            total_in_flight=row["total_in_flight"],
            queue_without_room=row["queue_without_room"],
            kept=limits.kept,
            queue_limit=limits.of_queue(row["queue"]),
            total_limit=limits.total,
            parked=parking.words(row["namespace"], row["reason"], row["explanation"]) if row["namespace"] else "",
        )
