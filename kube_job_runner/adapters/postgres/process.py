"""Loading and committing a batch: what the messages-processor does with the store."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from kube_job_runner import ports
from kube_job_runner.adapters.postgres import rows, statements
from kube_job_runner.adapters.postgres.pool import Connection, Pool
from kube_job_runner.adapters.postgres.queue import split_receipts
from kube_job_runner.domain import messages
from kube_job_runner.domain.job import Attempt

_SQL = statements.load("process")


class ProcessPart:
    """The `ProcessStore` and `ObserveStore` ports."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def load(self, job_ids: Collection[UUID]) -> ports.Snapshot:
        """See `ports.ProcessStore.load`."""
        ids = list(job_ids)

        async def read(connection: Connection) -> tuple[datetime, list[Any], list[Any]]:
            found = await connection.fetch(_SQL["load_jobs"], ids)
            # After the jobs: an attempt is written with its job, so it can only be newer, and then the commit is refused.
            tried = await connection.fetch(_SQL["load_attempts"], ids) if found else []
            now = await connection.fetchval("SELECT clock_timestamp()")
            return now, found, tried

        now, found, tried = await self._pool.run(read)
        attempts: dict[UUID, dict[int, Attempt]] = {}
        for row in tried:
            attempt = rows.attempt(row)
            attempts.setdefault(attempt.job_id, {})[attempt.number] = attempt
        jobs = {}
        for row in found:
            job = rows.job(row)
            jobs[job.id] = ports.LoadedJob(
                job=job, attempts=attempts.get(job.id, {}), spec=rows.spec(row["encoded_spec"])
            )
        return ports.Snapshot(now=now, jobs=jobs)

    async def commit(self, changes: Sequence[ports.Change], *, receipts: Mapping[UUID, Sequence[str]]) -> set[UUID]:
        """See `ports.ProcessStore.commit`."""
        if not changes and not receipts:
            return set()

        async def apply(connection: Connection) -> set[UUID]:
            expected = {change.job.id: change.expected_version for change in changes}
            held = await connection.fetch(_SQL["lock_jobs"], list(expected)) if changes else []
            current = {row["id"]: row["version"] for row in held}
            fitting = [change for change in changes if current.get(change.job.id) == change.expected_version]
            applied = {change.job.id for change in fitting}
            acked = [
                receipt
                for job_id, of_job in receipts.items()
                if job_id in applied or job_id not in expected
                for receipt in of_job
            ]
            attempts = [attempt for change in fitting for attempt in change.attempts]
            if attempts:
                columns = zip(*(rows.attempt_values(attempt) for attempt in attempts), strict=True)
                await connection.fetch(_SQL["put_attempts"], *(list(column) for column in columns))
            await connection.fetch(_SQL["apply"], *_columns(fitting, acked))
            return applied

        return await self._pool.run(apply, transaction=True)

    async def known_cluster_jobs(self) -> list[ports.KnownClusterJob]:
        """See `ports.ObserveStore.known_cluster_jobs`."""
        found = await self._pool.fetch(_SQL["known_cluster_jobs"])
        return [
            ports.KnownClusterJob(
                job_id=rows.plain_uuid(row["job_id"]), attempt=row["number"], cluster_uid=row["cluster_uid"]
            )
            for row in found
        ]


def _columns(changes: Sequence[ports.Change], acked: Sequence[str]) -> tuple[list[Any], ...]:
    """Return the parameters of `apply`, in its order."""
    jobs = [change.job for change in changes]
    history = [transition for change in changes for transition in change.transitions]
    strange = [anomaly for change in changes for anomaly in change.anomalies]
    sent = [outgoing for change in changes for outgoing in change.messages]
    channels = ["kjr_jobs"] if jobs else []
    if any(outgoing.delay_seconds <= 0 for outgoing in sent):
        channels.append("kjr_messages")
    return (
        [job.id for job in jobs],
        [job.state.value for job in jobs],
        [job.version for job in jobs],
        [job.attempt for job in jobs],
        [job.due_at for job in jobs],
        [job.started_at for job in jobs],
        [job.finished_at for job in jobs],
        [job.next_check_at for job in jobs],
        [_text(job.reason) for job in jobs],
        [_text(job.explanation) for job in jobs],
        [job.exit_code for job in jobs],
        [row.job_id for row in history],
        [row.version for row in history],
        [row.attempt for row in history],
        [None if row.from_state is None else row.from_state.value for row in history],
        [row.to_state.value for row in history],
        [row.at for row in history],
        [_text(row.reason) for row in history],
        [_text(row.explanation) for row in history],
        [row.exit_code for row in history],
        [row.job_id for row in strange],
        [row.attempt for row in strange],
        [row.kind for row in strange],
        [_text(row.detail) for row in strange],
        [row.at for row in strange],
        [outgoing.delay_seconds for outgoing in sent],
        [outgoing.priority for outgoing in sent],
        [messages.encode(outgoing.message) for outgoing in sent],
        *split_receipts(acked),
        channels,
    )


def _text(value: str) -> str:
    """Return a text that PostgreSQL can hold: a NUL is the one character that it cannot."""
    return value.replace("\0", "") if "\0" in value else value
