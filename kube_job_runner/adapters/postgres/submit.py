"""What the web server writes: jobs, at most one for an idempotency key, and cancel requests."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, TypeAlias
from uuid import UUID

from kube_job_runner.adapters.postgres import rows, statements
from kube_job_runner.adapters.postgres.pool import Connection, Pool
from kube_job_runner.domain import messages
from kube_job_runner.domain.job import Job
from kube_job_runner.ports import Submission, SubmitOutcome

SQL = statements.load("submit")
READ = statements.load("read")

Key: TypeAlias = tuple[str, str]
"""The owner and their idempotency key."""


class _Stored:
    """What is stored under a key: the job it made, and for which request."""

    __slots__ = ("created", "job_id", "request_hash", "response")

    def __init__(self, job_id: UUID, request_hash: bytes, response: bytes, *, created: bool) -> None:
        self.job_id = job_id
        self.request_hash = request_hash
        self.response = response
        self.created = created

    def outcome(self, submission: Submission) -> SubmitOutcome:
        if self.request_hash != submission.request_hash:
            return SubmitOutcome(status="mismatch", job_id=self.job_id)
        if self.created and self.job_id == submission.job.id:
            return _created(submission)
        return SubmitOutcome(status="replayed", job_id=self.job_id, response=self.response)


class Submit:
    """`SubmitStore` on PostgreSQL."""

    _pool: Pool

    async def insert_jobs(self, submissions: Sequence[Submission]) -> list[SubmitOutcome]:
        """Store jobs, specs, first transitions and `Submitted` messages in one commit; outcomes in the same order."""
        if not submissions:
            return []
        if all(submission.idempotency_key is None for submission in submissions):
            await self._pool.fetchrow(SQL["insert_jobs"], *_job_columns(submissions))
            return [_created(submission) for submission in submissions]
        return await self._pool.run(lambda connection: _insert_with_keys(connection, submissions), transaction=True)

    async def request_cancel(self, job_id: UUID, *, by: str, reason: str) -> Job | None:
        """Record a cancel request, if there is none yet and the job has not ended, with its message; return the job."""

        async def work(connection: Connection) -> Any:
            row = await connection.fetchrow(SQL["request_cancel"], job_id, rows.text(by), rows.text(reason))
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


async def _insert_with_keys(connection: Connection, submissions: Sequence[Submission]) -> list[SubmitOutcome]:
    first: dict[Key, Submission] = {}
    for submission in submissions:
        key = _key(submission)
        if key is not None:
            first.setdefault(key, submission)
    stored = await _reserve(connection, first)
    new = [s for s in submissions if (key := _key(s)) is None or (stored[key].created and first[key] is s)]
    if new:
        await connection.fetchrow(SQL["insert_jobs"], *_job_columns(new))
    return [_created(s) if (key := _key(s)) is None else stored[key].outcome(s) for s in submissions]


async def _reserve(connection: Connection, first: dict[Key, Submission]) -> dict[Key, _Stored]:
    """Take the keys that are free, read the others. One that expires in between is tried for again."""
    stored: dict[Key, _Stored] = {}
    open_keys = sorted(first)
    while open_keys:
        taken = await connection.fetch(SQL["reserve_keys"], *_key_columns(first[key] for key in open_keys))
        for row in taken:
            winner = first[row["owner"], row["key"]]
            stored[row["owner"], row["key"]] = _Stored(
                winner.job.id, winner.request_hash, winner.response, created=True
            )
        open_keys = [key for key in open_keys if key not in stored]
        if not open_keys:
            break
        owners, keys = zip(*open_keys, strict=True)
        for row in await connection.fetch(SQL["read_keys"], owners, keys):
            stored[row["owner"], row["key"]] = _Stored(
                row["job_id"], row["request_hash"], row["response"], created=False
            )
        open_keys = [key for key in open_keys if key not in stored]
    return stored


def _key_columns(submissions: Iterable[Submission]) -> list[Any]:
    return rows.columns(
        [(s.job.owner, s.idempotency_key, s.job.id, s.request_hash, s.response) for s in submissions], 5
    )


def _job_columns(submissions: Sequence[Submission]) -> list[Any]:
    jobs = [submission.job for submission in submissions]
    common: list[list[Any]] = [
        [job.queue for job in jobs],
        [job.namespace for job in jobs],
        [job.owner for job in jobs],
        [job.priority for job in jobs],
        _encoded([job.labels for job in jobs]),
        _encoded([job.policy for job in jobs]),
        [job.created_at for job in jobs],
        [job.due_at for job in jobs],
        [job.next_check_at for job in jobs],
    ]
    folded = [rows.folded(column) for column in common]
    return [
        [job.id for job in jobs],
        [job.name for job in jobs],
        *(column for column, _ in folded),
        [submission.spec for submission in submissions],
        [messages.encode(messages.Submitted(job_id=job.id)) for job in jobs],
        *(default for _, default in folded),
    ]


def _encoded(values: list[Any]) -> list[str]:
    if values.count(values[0]) == len(values):
        return [rows.as_json(values[0])] * len(values)
    return [rows.as_json(value) for value in values]
