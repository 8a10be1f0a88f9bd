"""Writes of the web-server: jobs, at most one per idempotency key, and cancel requests."""

from collections.abc import Sequence
from typing import Any, TypeAlias
from uuid import UUID

import msgspec

from kube_job_runner.adapters.postgres import rows, statements
from kube_job_runner.adapters.postgres.pool import Connection, Pool
from kube_job_runner.domain import messages
from kube_job_runner.domain.job import Job, Policy
from kube_job_runner.ports import Submission, SubmitOutcome

SQL = statements.load("submit")
READ = statements.load("read")

Key: TypeAlias = tuple[str, str]
"""The owner of a job, and the idempotency key."""


class _Stored(msgspec.Struct, frozen=True):
    """What is stored under a key: its job, the hash of its request, and the answer."""

    job_id: UUID
    request_hash: bytes
    response: bytes
    first: Submission | None = None
    """The submission of this call that got the key; None: an earlier call got it."""

    def outcome(self, submission: Submission) -> SubmitOutcome:
        """Return the outcome of a submission with this key."""
        if self.first is submission:
            return _created(submission)
        if self.request_hash != submission.request_hash:
            return SubmitOutcome(status="mismatch", job_id=self.job_id)
        return SubmitOutcome(status="replayed", job_id=self.job_id, response=self.response)


class PostgresSubmitStore:
    """`SubmitStore` on PostgreSQL."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def insert_jobs(self, submissions: Sequence[Submission]) -> list[SubmitOutcome]:
        if not submissions:
            return []
        first: dict[Key, Submission] = {}
        for submission in submissions:
            if (key := _key(submission)) is not None:
                first.setdefault(key, submission)
        new = [s for s in submissions if (key := _key(s)) is None or first[key] is s] if first else submissions
        stored: dict[Key, _Stored] = {}
        while new:
            stored |= await self._insert(new)
            # A key that was taken, and expired before it could be read, is free again.
            new = [submission for key, submission in first.items() if key not in stored]
        return [_created(s) if (key := _key(s)) is None else stored[key].outcome(s) for s in submissions]

    async def _insert(self, submissions: Sequence[Submission]) -> dict[Key, _Stored]:
        """Store the submissions whose key is free; all keys are different. Return what is stored under the keys."""
        row = await self._pool.fetchrow(SQL["insert_jobs"], *_parameters(submissions))
        taken = set(row["taken"] or ()) if row else set()
        stored: dict[Key, _Stored] = {}
        others: list[Key] = []
        for submission in submissions:
            if (key := _key(submission)) is None:
                continue
            if submission.job.id in taken:
                stored[key] = _Stored(submission.job.id, submission.request_hash, submission.response, submission)
            else:
                others.append(key)
        if others:
            for found in await self._pool.fetch(SQL["read_keys"], *zip(*others, strict=True)):
                stored[found["owner"], found["key"]] = _Stored(
                    found["job_id"], found["request_hash"], found["response"]
                )
        return stored

    async def request_cancel(
        self, job_id: UUID, *, by: str, reason: str, grace_seconds: int | None = None
    ) -> Job | None:
        async def work(connection: Connection) -> Any:
            usual_seconds = Policy().stop_grace_seconds  # the stored policy leaves out defaults
            row = await connection.fetchrow(
                SQL["request_cancel"], job_id, rows.text(by), rows.text(reason), grace_seconds, usual_seconds
            )
            if row is None:
                return await connection.fetchrow(READ["get_job"], job_id)
            body = messages.encode(messages.CancelRequested(job_id=job_id))
            await connection.fetchrow(SQL["send_cancel"], messages.CONTROL_PRIORITY, body)
            return row

        row = await self._pool.run(work, transaction=True)
        return None if row is None else rows.job(row)


def _created(submission: Submission) -> SubmitOutcome:
    return SubmitOutcome(status="created", job_id=submission.job.id, response=submission.response)


def _key(submission: Submission) -> Key | None:
    return None if submission.idempotency_key is None else (submission.job.owner, submission.idempotency_key)


def _parameters(submissions: Sequence[Submission]) -> list[Any]:
    jobs = [submission.job for submission in submissions]
    common, common_columns = rows.JOB_COMMON.encode_folded(jobs)
    due, due_columns = rows.JOB_DUE.encode_folded(jobs)
    return [
        [submission.spec for submission in submissions],
        messages.encode(messages.Submitted(job_id=jobs[0].id)),
        *_key_columns(submissions),
        *common,
        *due,
        *rows.JOB_IDENTITIES.encode(jobs),
        *common_columns,
        *due_columns,
    ]


def _key_columns(submissions: Sequence[Submission]) -> list[list[Any]]:
    if all(submission.idempotency_key is None for submission in submissions):
        return [[], [], []]
    return [
        [submission.idempotency_key for submission in submissions],
        [submission.request_hash for submission in submissions],
        [submission.response for submission in submissions],
    ]
