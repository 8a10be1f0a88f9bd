"""Submits and cancel requests: what the web server may write."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from kube_job_runner import ports
from kube_job_runner.adapters.postgres import rows, statements
from kube_job_runner.adapters.postgres.pool import Connection, Pool
from kube_job_runner.domain import messages
from kube_job_runner.domain.job import Job

Key = tuple[str, str]

_SQL = statements.load("submit")
_GET_JOB = statements.load("read")["get_job"]


class SubmitPart:
    """The `SubmitStore` port."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def insert_jobs(self, submissions: Sequence[ports.Submission]) -> list[ports.SubmitOutcome]:
        """See `ports.SubmitStore.insert_jobs`."""
        if not submissions:
            return []
        first_by_key: dict[Key, ports.Submission] = {}
        for submission in submissions:
            if submission.idempotency_key is not None:
                first_by_key.setdefault((submission.job.owner, submission.idempotency_key), submission)
        if not first_by_key:
            await self._pool.fetch(_SQL["insert_jobs"], *_columns(submissions))
            return [_created(submission) for submission in submissions]

        async def insert(connection: Connection) -> dict[Key, tuple[UUID, bytes, bytes]]:
            return await self._insert_with_keys(connection, submissions, first_by_key)

        earlier = await self._pool.run(insert, transaction=True)
        return [_outcome(submission, first_by_key, earlier) for submission in submissions]

    async def _insert_with_keys(
        self, connection: Connection, submissions: Sequence[ports.Submission], first_by_key: dict[Key, ports.Submission]
    ) -> dict[Key, tuple[UUID, bytes, bytes]]:
        """Store what is new; return what an earlier request stored under keys that were taken."""
        firsts = list(first_by_key.values())
        reserved = await connection.fetch(
            _SQL["reserve_keys"],
            [submission.job.owner for submission in firsts],
            [submission.idempotency_key for submission in firsts],
            [submission.job.id for submission in firsts],
            [submission.request_hash for submission in firsts],
            [submission.response for submission in firsts],
        )
        won = {row["job_id"] for row in reserved}
        new = [
            submission for submission in submissions if submission.idempotency_key is None or submission.job.id in won
        ]
        if new:
            await connection.fetch(_SQL["insert_jobs"], *_columns(new))
        taken = [key for key, submission in first_by_key.items() if submission.job.id not in won]
        if not taken:
            return {}
        found = await connection.fetch(_SQL["read_keys"], [owner for owner, _ in taken], [key for _, key in taken])
        return {
            (row["owner"], row["key"]): (rows.plain_uuid(row["job_id"]), row["request_hash"], row["response"])
            for row in found
        }

    async def request_cancel(self, job_id: UUID, *, by: str, reason: str) -> Job | None:
        """See `ports.SubmitStore.request_cancel`."""

        async def request(connection: Connection) -> Any:
            recorded = await connection.fetchrow(_SQL["request_cancel"], job_id, by, reason)
            if recorded is not None:
                body = messages.encode(messages.CancelRequested(job_id=job_id))
                await connection.fetch(_SQL["send_cancel"], messages.CONTROL_PRIORITY, body)
            return await connection.fetchrow(_GET_JOB, job_id)

        row = await self._pool.run(request, transaction=True)
        return None if row is None else rows.job(row)


def _columns(submissions: Sequence[ports.Submission]) -> tuple[list[Any], ...]:
    jobs = [submission.job for submission in submissions]
    policies: dict[int, str] = {}  # most jobs of a batch share one policy object or an equal one
    return (
        [job.id for job in jobs],
        [job.name for job in jobs],
        [job.queue for job in jobs],
        [job.namespace for job in jobs],
        [job.owner for job in jobs],
        [job.priority for job in jobs],
        [rows.as_json(job.labels) if job.labels else "{}" for job in jobs],
        [policies.get(id(job.policy)) or policies.setdefault(id(job.policy), rows.as_json(job.policy)) for job in jobs],
        [job.created_at for job in jobs],
        [job.due_at for job in jobs],
        [job.next_check_at for job in jobs],
        [submission.spec for submission in submissions],
        [messages.encode(messages.Submitted(job_id=job.id)) for job in jobs],
    )


def _created(submission: ports.Submission) -> ports.SubmitOutcome:
    return ports.SubmitOutcome(status="created", job_id=submission.job.id, response=submission.response)


def _outcome(
    submission: ports.Submission,
    first_by_key: dict[Key, ports.Submission],
    earlier: dict[Key, tuple[UUID, bytes, bytes]],
) -> ports.SubmitOutcome:
    if submission.idempotency_key is None:
        return _created(submission)
    key = (submission.job.owner, submission.idempotency_key)
    first = first_by_key[key]
    if key in earlier:
        job_id, request_hash, response = earlier[key]
    elif first is submission:
        return _created(submission)
    else:
        job_id, request_hash, response = first.job.id, first.request_hash, first.response
    same = request_hash == submission.request_hash
    return ports.SubmitOutcome(
        status="replayed" if same else "mismatch", job_id=job_id, response=response if same else b""
    )
