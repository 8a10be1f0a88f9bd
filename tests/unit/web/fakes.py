"""Ports in memory, with their contracts' semantics, for tests of the web server that need no database."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Sequence
from datetime import UTC, datetime
from typing import Any, Literal
from uuid import UUID

import msgspec

from kube_job_runner.domain.decide.admission import QueueStanding
from kube_job_runner.domain.job import Anomaly, Attempt, CancelRequest, Job, LogStatus, Transition
from kube_job_runner.domain.limits import AdmissionLimits
from kube_job_runner.domain.logs.assembler import Assembler
from kube_job_runner.domain.logs.chunks import Chunk
from kube_job_runner.domain.logs.stamps import Piece
from kube_job_runner.domain.states import State
from kube_job_runner.ports import (
    ContainerLog,
    JobFilter,
    LogKey,
    LogState,
    QueueDepth,
    Submission,
    SubmitOutcome,
    Token,
)


class FakeClock:
    """Time that stands still until it is moved."""

    def __init__(self) -> None:
        self.time = datetime(2026, 1, 15, 9, 30, tzinfo=UTC)
        self.seconds = 1000.0

    def now(self) -> datetime:
        return self.time

    def monotonic(self) -> float:
        return self.seconds


class FakeStore:
    """`SubmitStore` and `RecordReader`. `before_insert` runs at the start of each commit and may raise or wait."""

    def __init__(self) -> None:
        self.jobs: dict[UUID, Job] = {}
        self.specs: dict[UUID, bytes] = {}
        self.keys: dict[tuple[str, str], tuple[bytes, UUID, bytes]] = {}
        self.transitions: dict[UUID, list[Transition]] = {}
        self.attempts: dict[UUID, list[Attempt]] = {}
        self.anomalies: dict[UUID, list[Anomaly]] = {}
        self.commits: list[int] = []
        self.version_queries = 0
        self.standings: dict[UUID, QueueStanding] = {}
        self.before_insert: Callable[[Sequence[Submission]], Any] | None = None
        self.failure: Exception | None = None

    async def insert_jobs(self, submissions: Sequence[Submission]) -> list[SubmitOutcome]:
        if self.before_insert is not None:
            waiting = self.before_insert(submissions)
            if waiting is not None:
                await waiting
        await asyncio.sleep(0)
        self.commits.append(len(submissions))
        return [self._insert(one) for one in submissions]

    def _insert(self, one: Submission) -> SubmitOutcome:
        job = one.job
        if one.idempotency_key is not None:
            place = (job.owner, one.idempotency_key)
            if place in self.keys:
                known_hash, job_id, response = self.keys[place]
                if known_hash != one.request_hash:
                    return SubmitOutcome(status="mismatch", job_id=job_id)
                return SubmitOutcome(status="replayed", job_id=job_id, response=response)
            self.keys[place] = (one.request_hash, job.id, one.response)
        self.jobs[job.id] = job
        self.specs[job.id] = one.spec
        self.transitions[job.id] = [
            Transition(job_id=job.id, version=1, attempt=0, to_state=State.QUEUED, at=job.created_at)
        ]
        return SubmitOutcome(status="created", job_id=job.id)

    async def request_cancel(
        self, job_id: UUID, *, by: str, reason: str, grace_seconds: int | None = None
    ) -> Job | None:
        self._fail()
        job = self.jobs.get(job_id)
        if job is None or job.terminal:
            return job
        if job.cancel is None:
            cancel = CancelRequest(at=job.created_at, by=by, reason=reason, grace_seconds=grace_seconds)
            self.change(job_id, cancel=cancel)
        elif grace_seconds is not None and grace_seconds < (job.cancel.grace_seconds or 0):
            self.change(job_id, cancel=msgspec.structs.replace(job.cancel, grace_seconds=grace_seconds))
        return self.jobs.get(job_id)

    def change(self, job_id: UUID, **changes: Any) -> Job:
        """Change a job as the processor would: its version grows."""
        job = self.jobs[job_id]
        self.jobs[job_id] = msgspec.structs.replace(job, version=job.version + 1, **changes)
        return self.jobs[job_id]

    def _fail(self) -> None:
        if self.failure is not None:
            raise self.failure

    async def get_job(self, job_id: UUID) -> Job | None:
        self._fail()
        return self.jobs.get(job_id)

    async def get_spec(self, job_id: UUID) -> bytes | None:
        return self.specs.get(job_id)

    async def list_jobs(self, query: JobFilter) -> list[Job]:
        self._fail()
        found = [job for job in self.jobs.values() if self._fits(job, query)]
        return sorted(found, key=lambda job: job.id, reverse=True)[: query.limit]

    @staticmethod
    def _fits(job: Job, query: JobFilter) -> bool:
        tests: dict[str, Callable[[str, tuple[str, ...]], bool]] = {
            "in": lambda key, values: job.labels.get(key) in values,
            "notin": lambda key, values: job.labels.get(key) not in values,
            "exists": lambda key, _values: key in job.labels,
            "!exists": lambda key, _values: key not in job.labels,
        }
        return bool(
            (not query.states or job.state in query.states)
            and query.queue in (None, job.queue)
            and query.namespace in (None, job.namespace)
            and query.name in (None, job.name)
            and query.rerun_of in (None, job.rerun_of)
            and (query.reason is None or (job.reason == query.reason and (query.states or job.state is State.FAILED)))
            and (query.before_id is None or job.id < query.before_id)
            and all(tests[operator](key, values) for key, operator, values in query.labels)
        )

    async def list_attempts(self, job_id: UUID) -> list[Attempt]:
        return self.attempts.get(job_id, [])

    async def list_transitions(self, job_id: UUID) -> list[Transition]:
        return self.transitions.get(job_id, [])

    async def list_anomalies(self, job_id: UUID) -> list[Anomaly]:
        return self.anomalies.get(job_id, [])

    async def versions(self, job_ids: Collection[UUID]) -> dict[UUID, int]:
        self._fail()
        self.version_queries += 1
        return {job_id: self.jobs[job_id].version for job_id in job_ids if job_id in self.jobs}

    async def queue_standing(self, job_id: UUID, limits: AdmissionLimits) -> QueueStanding | None:
        return self.standings.get(job_id)


class FakeTokens:
    """`TokenStore`."""

    def __init__(self) -> None:
        self.tokens: dict[bytes, Token] = {}
        self.lookups = 0

    async def find_token(self, token_hash: bytes) -> Token | None:
        self.lookups += 1
        await asyncio.sleep(0)
        token = self.tokens.get(token_hash)
        return token if token is not None and token.revoked_at is None else None

    async def add_token(self, token: Token) -> None:
        self.tokens.setdefault(token.token_hash, token)

    async def list_tokens(self) -> list[Token]:
        return list(self.tokens.values())

    async def revoke_token(self, name: str) -> int:
        found = [key for key, token in self.tokens.items() if token.name == name]
        for key in found:
            self.tokens[key] = msgspec.structs.replace(self.tokens[key], revoked_at=datetime.now(UTC))
        return len(found)


class FakeHealth:
    """`Health`."""

    def __init__(self) -> None:
        self.checks: dict[str, str | None] = {"database": None, "schema": None}
        self.asked = 0

    async def check(self) -> dict[str, str | None]:
        self.asked += 1
        return self.checks

    async def depth(self) -> QueueDepth:
        return QueueDepth(jobs_by_state={"queued": 3}, messages=5, oldest_message_seconds=1.5, dead_letters=2)


class FakeWakeup:
    """`Wakeup`: `hint` is a commit of somebody. Without one a wait lasts its time on the (virtual) loop."""

    def __init__(self) -> None:
        self._event = asyncio.Event()

    def hint(self) -> None:
        self._event.set()

    async def wait(self, topic: Literal["messages", "jobs", "logs"], *, timeout_seconds: float) -> bool:
        assert topic in ("jobs", "logs")
        try:
            async with asyncio.timeout(timeout_seconds):
                await self._event.wait()
        except TimeoutError:
            return False
        self._event.clear()
        return True


class _FakeLog:
    """What is stored of one attempt."""

    def __init__(self) -> None:
        self.version = 1
        self.status: LogStatus = ""
        self.lost_reason = ""
        self.fresh = True
        self.containers: dict[str, tuple[Assembler, dict[int, Chunk]]] = {}


class FakeLogs:
    """`LogReader`: what tests `print`. `wanted` are the readers' wishes; `failure` breaks every read of chunks."""

    def __init__(self) -> None:
        self.logs: dict[LogKey, _FakeLog] = {}
        self.wanted: list[LogKey] = []
        self.version_queries = 0
        self.chunk_bytes = 64
        self.failure: Exception | None = None

    def print(
        self,
        job_id: UUID,
        data: bytes = b"",
        *,
        attempt: int = 1,
        container: str = "main",
        status: LogStatus = "following",
        lost_reason: str = "",
        stamp: int = 1_767_225_600_000_000_000,
    ) -> None:
        """Store some output, and how the log stands now."""
        log = self.logs.setdefault((job_id, attempt), _FakeLog())
        log.version += 1
        log.status, log.lost_reason = status, lost_reason
        if data:
            assembler, chunks = log.containers.setdefault(
                container, (Assembler(container, max_bytes=2**30, chunk_bytes=self.chunk_bytes), {})
            )
            assembler.feed(Piece(stamp, line) for line in data.splitlines(keepends=True))
            for chunk in assembler.take()[0]:
                chunks[chunk.seq] = chunk

    async def log_state(self, key: LogKey) -> LogState | None:
        log = self.logs.get(key)
        if log is None:
            return None
        return LogState(version=log.version, status=log.status, lost_reason=log.lost_reason, fresh=log.fresh)

    async def want_log(self, key: LogKey) -> None:
        self.wanted.append(key)

    async def containers(self, key: LogKey) -> list[ContainerLog]:
        found = self.logs[key].containers if key in self.logs else {}
        return [
            ContainerLog(container=name, lines=made.lines, total_bytes=made.total_bytes)
            for name, (made, _) in found.items()
        ]

    def _chunks(self, key: LogKey, container: str) -> list[Chunk]:
        log = self.logs.get(key)
        if log is None or container not in log.containers:
            return []
        return [chunk for _, chunk in sorted(log.containers[container][1].items())]

    async def find_chunk(self, key: LogKey, container: str, *, line: int = 0, stamp: int = 0) -> int:
        chunks = self._chunks(key, container)
        if line:
            return max((one.seq for one in chunks if one.first_line <= line and one.lines), default=0)
        return min((one.seq for one in chunks if one.last_stamp >= stamp), default=0)

    async def read_chunks(self, key: LogKey, container: str, *, from_seq: int, limit: int) -> list[Chunk]:
        if self.failure is not None:
            raise self.failure
        return [chunk for chunk in self._chunks(key, container) if chunk.seq >= from_seq][:limit]

    async def log_versions(self, keys: Collection[LogKey]) -> dict[LogKey, int]:
        self.version_queries += 1
        return {key: self.logs[key].version for key in keys if key in self.logs}
