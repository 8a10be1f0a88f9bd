"""The timeline of a job: the phases of every attempt, with their times, deadlines and reasons.

queued -> created -> scheduled -> pulling -> starting -> running -> finishing. A phase begins where the previous one ends.
Kubernetes shows some steps only while they last, so the attempt keeps a mark of each step that was seen. A phase that was
never seen is left out.
"""

from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Literal

import msgspec

from kube_job_runner.domain import failures
from kube_job_runner.domain.decide import diagnosis, obstacles, waiting
from kube_job_runner.domain.failures import Table
from kube_job_runner.domain.job import Attempt, Job
from kube_job_runner.domain.states import State

Name = Literal["queued", "created", "scheduled", "pulling", "starting", "running", "finishing"]


class Phase(msgspec.Struct, frozen=True, kw_only=True):
    """One phase of an attempt. `ended_at` is None while it lasts, and `deadline` says until when it may last.

    `reason` says why the phase lasts, or how the attempt ended in it.
    """

    attempt: int
    name: Name
    started_at: datetime
    ended_at: datetime | None = None
    deadline: datetime | None = None
    reason: str = ""


def timeline(
    job: Job,
    attempts: Mapping[int, Attempt],
    *,
    now: datetime,
    standing: str = "",
    table: Table = failures.TABLE,
) -> list[Phase]:
    """Return the phases of all attempts of a job, oldest first. `standing` says why a job waits in its queue."""
    phases: list[Phase] = []
    queued_at = job.created_at
    for number, attempt in sorted(attempts.items()):
        if number > job.attempt:
            continue
        phases.extend(_of_attempt(job, attempt, queued_at=queued_at, now=now, table=table))
        queued_at = attempt.decided_at or now
    if job.state is State.QUEUED or not phases:
        phases.append(_queued(job, job.attempt + 1, queued_at=queued_at, now=now, standing=standing))
    return phases


def _queued(job: Job, number: int, *, queued_at: datetime, now: datetime, standing: str) -> Phase:
    if job.terminal:
        return Phase(
            attempt=number, name="queued", started_at=queued_at, ended_at=job.finished_at, reason=job.explanation
        )
    reason = standing or job.explanation
    if now < job.due_at:
        reason = f"waiting until {job.due_at:%Y-%m-%d %H:%M:%S} UTC. {job.explanation}".strip()
    deadline = job.queue_deadline
    return Phase(attempt=number, name="queued", started_at=queued_at, deadline=deadline, reason=reason)


def _of_attempt(job: Job, attempt: Attempt, *, queued_at: datetime, now: datetime, table: Table) -> Iterator[Phase]:
    begun = list(_begun(attempt, queued_at))
    over_at = attempt.decided_at if attempt.verdict is not None and job.attempt >= attempt.number else None
    stopping = job.attempt == attempt.number and job.state is State.STOPPING
    for index, (name, started_at) in enumerate(begun):
        last = index == len(begun) - 1
        ended_at = begun[index + 1][1] if not last else None if stopping else over_at
        lasting = last and ended_at is None
        yield Phase(
            attempt=attempt.number,
            name=name,
            started_at=started_at,
            ended_at=ended_at,
            deadline=_deadline(job, attempt, name, now) if lasting else None,
            reason=_reason(job, attempt, name, now=now, table=table) if last else "",
        )


def _begun(attempt: Attempt, queued_at: datetime) -> Iterator[tuple[Name, datetime]]:
    """Yield the phases that began, in order. No phase begins before the previous one, even if the clock of a node is wrong."""
    marks = attempt.marks
    steps: tuple[tuple[Name, datetime | None], ...] = (
        ("queued", queued_at),
        ("created", attempt.created_at),
        ("scheduled", marks.scheduled_at),
        ("pulling", marks.pulling_at),
        ("starting", marks.starting_at),
        ("running", attempt.started_at),
        ("finishing", _main_ended_at(attempt)),
    )
    earliest = queued_at
    for name, at in steps:
        if at is not None:
            earliest = max(earliest, at)
            yield name, earliest


def _main_ended_at(attempt: Attempt) -> datetime | None:
    if attempt.started_at is None:
        return None
    return diagnosis.finished_at(attempt.facts)


def _deadline(job: Job, attempt: Attempt, name: Name, now: datetime) -> datetime | None:
    if job.state is State.STOPPING or attempt.created_at is None:
        return None
    if job.waiting_since is not None:
        return waiting.deadline(job, attempt)
    if waiting.starts_again(attempt) or name not in ("running", "finishing"):
        return waiting.start_deadline(job, attempt, now)
    return None if name == "finishing" else job.run_deadline(attempt.started_at or attempt.created_at)


def _reason(job: Job, attempt: Attempt, name: Name, *, now: datetime, table: Table) -> str:
    verdict = attempt.verdict
    if verdict is not None:
        stopping = job.attempt == attempt.number and job.state is State.STOPPING
        text = verdict.explanation or verdict.reason
        return f"stopping: {text}" if stopping else text
    if name in ("running", "finishing") and not waiting.starts_again(attempt):
        return ""
    return obstacles.waiting_for(attempt.facts, now=now, table=table)
