"""Explains a job: what happened, where, whose fault it is and what to do, with all the evidence.

Everything comes from rows, so a job can be explained long after its cluster objects are gone.
"""

from collections import deque
from collections.abc import Mapping, Sequence
from datetime import datetime
from uuid import UUID

import msgspec

from kube_job_runner.domain import failures
from kube_job_runner.domain.decide import admission, retries
from kube_job_runner.domain.decide.retries import Budget, Plan
from kube_job_runner.domain.errors import NotFound, TemporaryError
from kube_job_runner.domain.failures import Table
from kube_job_runner.domain.job import Anomaly, Attempt, Job
from kube_job_runner.domain.limits import DEFAULT_ADMISSION, AdmissionLimits
from kube_job_runner.domain.logs.chunks import decode_body
from kube_job_runner.domain.record import sentence, timeline
from kube_job_runner.domain.record.timeline import Phase
from kube_job_runner.domain.states import State
from kube_job_runner.ports import Clock, LogReader, RecordReader

LINE_MAX_BYTES = 2000
_CHUNKS_AT_ONCE = 4


class LastLines:
    """Reads the ends of stored logs. A long line is cut after `LINE_MAX_BYTES`."""

    def __init__(self, logs: LogReader) -> None:
        self._logs = logs

    async def read(self, job_id: UUID, attempt: int, container: str, limit: int) -> Sequence[str]:
        """Return the last lines that a container of the attempt wrote, at most `limit`, oldest first.

        Raises:
            TemporaryError: the store of the logs does not answer.
        """
        key = (job_id, attempt)
        stored = await self._logs.containers(key)
        total = next((one.lines for one in stored if one.container == container), 0)
        if total == 0:
            return []
        seq = await self._logs.find_chunk(key, container, line=max(1, total - limit + 1))
        tail = _Tail(limit)
        while True:
            chunks = await self._logs.read_chunks(key, container, from_seq=seq, limit=_CHUNKS_AT_ONCE)
            for chunk in chunks:
                if chunk.mark:
                    tail.add(f"\n[{chunk.mark}]\n".encode())
                elif chunk.data is not None:
                    tail.add(decode_body(chunk.data).content)
            if len(chunks) < _CHUNKS_AT_ONCE:
                return tail.lines()
            seq = chunks[-1].seq + 1


class _Tail:
    """Keeps the last lines of the added content. Each line is cut, so memory is bounded."""

    def __init__(self, limit: int) -> None:
        self._lines: deque[bytes] = deque(maxlen=limit)
        self._open = b""

    def add(self, content: bytes) -> None:
        *whole, rest = content.split(b"\n")
        for line in whole:
            self._lines.append((self._open + line[:LINE_MAX_BYTES])[:LINE_MAX_BYTES])
            self._open = b""
        self._open = (self._open + rest[:LINE_MAX_BYTES])[:LINE_MAX_BYTES]

    def lines(self) -> list[str]:
        if self._open:
            self._lines.append(self._open)
        # A progress bar overwrites its own line: keep what a terminal would show last.
        return [line.rstrip(b"\r").rsplit(b"\r", 1)[-1].decode("utf-8", "replace") for line in self._lines]


LAST_LINES = 50


class Timeline(msgspec.Struct, frozen=True, kw_only=True):
    """The phases of a job's attempts as of `now`."""

    job: Job
    now: datetime
    phases: Sequence[Phase]


class Judged(msgspec.Struct, frozen=True, kw_only=True):
    """An attempt with its evidence, the budget that paid for it, and what followed and why."""

    attempt: Attempt
    budget: Budget = ""
    plan: Plan | None = None
    last_lines: Mapping[str, Sequence[str]] = {}


class Explanation(msgspec.Struct, frozen=True, kw_only=True):
    """The explanation of a job. `missing` names evidence that could not be read now."""

    job: Job
    now: datetime
    sentence: str
    attempts: Sequence[Judged]
    anomalies: Sequence[Anomaly]
    missing: Sequence[str] = ()


class Explainer:
    """Makes timelines and explanations from rows."""

    def __init__(
        self,
        reader: RecordReader,
        clock: Clock,
        *,
        last_lines: LastLines,
        limits: AdmissionLimits = DEFAULT_ADMISSION,
        table: Table = failures.TABLE,
    ) -> None:
        self._reader = reader
        self._clock = clock
        self._last_lines = last_lines
        self._limits = limits
        self._table = table

    async def timeline(self, job_id: UUID) -> Timeline:
        """Return the phases of a job.

        Raises:
            NotFound: there is no such job.
        """
        job, attempts = await self._rows(job_id)
        return await self._timeline(job, attempts)

    async def explain(self, job_id: UUID) -> Explanation:
        """Return the explanation of a job.

        Raises:
            NotFound: there is no such job.
        """
        job, attempts = await self._rows(job_id)
        seen = await self._timeline(job, attempts)
        missing: list[str] = []
        judged = [await self._judged(job, attempts, attempt, missing) for _, attempt in sorted(attempts.items())]
        return Explanation(
            job=job,
            now=seen.now,
            sentence=sentence.sentence(job, attempts, seen.phases),
            attempts=judged,
            anomalies=await self._reader.list_anomalies(job_id),
            missing=tuple(dict.fromkeys(missing)),
        )

    async def _rows(self, job_id: UUID) -> tuple[Job, dict[int, Attempt]]:
        job = await self._reader.get_job(job_id)
        if job is None:
            raise NotFound(f"there is no job {job_id}")
        return job, {attempt.number: attempt for attempt in await self._reader.list_attempts(job_id)}

    async def _timeline(self, job: Job, attempts: Mapping[int, Attempt]) -> Timeline:
        found = await self._reader.queue_standing(job.id, self._limits) if job.state is State.QUEUED else None
        standing = admission.place(found) if found else ""
        now = self._clock.now()
        phases = timeline.timeline(job, attempts, now=now, standing=standing, table=self._table)
        return Timeline(job=job, now=now, phases=phases)

    async def _judged(self, job: Job, attempts: Mapping[int, Attempt], attempt: Attempt, missing: list[str]) -> Judged:
        lines: dict[str, Sequence[str]] = {}
        try:
            for name in _containers(attempt):
                found = await self._last_lines.read(job.id, attempt.number, name, LAST_LINES)
                if found:
                    lines[name] = found
        except TemporaryError as error:
            missing.append(f"the last lines of attempt {attempt.number} cannot be read now: {error}")
        verdict = attempt.verdict
        return Judged(
            attempt=attempt,
            budget=retries.budget_of(verdict, job.policy.retry) if verdict is not None else "",
            plan=followed(job, attempts, attempt.number),
            last_lines=lines,
        )


def followed(job: Job, attempts: Mapping[int, Attempt], number: int) -> Plan | None:
    """Return what followed an attempt, and why. None while the attempt has no verdict."""
    attempt = attempts[number]
    if attempt.verdict is None:
        return None
    if number > job.attempt:
        return Plan(retry=False, why="it was made while the job ended, and removed at once")
    plan = retries.after(job, attempts, attempt.verdict, number=number)
    cancelled = job.cancel is not None and job.state in (State.CANCELLED, State.STOPPING)
    if plan.retry and cancelled and number == job.attempt:
        return Plan(retry=False, why="a cancel was asked for", budget=plan.budget, rule=plan.rule)
    return plan


def _containers(attempt: Attempt) -> list[str]:
    """Return the names of the containers of an attempt that may have written something."""
    containers = (container for pod in attempt.facts.pods for container in pod.containers)
    return list(dict.fromkeys(container.name for container in containers if container.state != "waiting"))
