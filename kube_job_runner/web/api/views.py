"""What the API answers: the public shapes, apart from the rows of the store so that either may change."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Literal
from uuid import UUID

import msgspec
from msgspec import UNSET, Meta, UnsetType

from kube_job_runner.domain.decide import admission
from kube_job_runner.domain.decide.admission import QueueStanding
from kube_job_runner.domain.job import Attempt, CancelRequest, Job, Transition
from kube_job_runner.domain.states import State
from kube_job_runner.web.kit.problems import ProblemDetails
from kube_job_runner.web.validation.fault import Fault

Time = Annotated[datetime, Meta(tz=True)]


class JobSubmitted(msgspec.Struct, frozen=True, kw_only=True):
    """A job that was stored: it will run, whatever happens to the server."""

    id: UUID
    name: str
    state: State
    version: int
    created_at: Time
    queue: str
    namespace: str
    rerun_of: UUID | UnsetType = UNSET
    warnings: Sequence[Fault] = ()


class BatchItem(msgspec.Struct, frozen=True, kw_only=True):
    """What became of one job of a batch: `job` with status 201, or `problem` with its status."""

    status: int
    job: JobSubmitted | UnsetType = UNSET
    problem: ProblemDetails | UnsetType = UNSET


class BatchAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """The answers of a batch, in the order of its jobs."""

    results: list[BatchItem]
    warnings: Sequence[Fault] = ()


class CancelView(msgspec.Struct, frozen=True, kw_only=True):
    """A cancel request: when, by whom, why, and how long the container has to end by itself."""

    at: Time
    by: str
    reason: str
    grace_seconds: int
    outlook: Annotated[str | None, Meta(description="What happens now; null once the job has ended.")]


class JobView(msgspec.Struct, frozen=True, kw_only=True):
    """A job as it stands. `version` grows with each change; a terminal state never changes."""

    id: UUID
    name: str
    state: State
    version: int
    queue: str
    namespace: str
    priority: int
    owner: str
    labels: dict[str, str]
    attempt: int
    reason: str | None
    explanation: str | None
    exit_code: int | None
    created_at: Time
    due_at: Time
    admitted_at: Time | None
    started_at: Time | None
    finished_at: Time | None
    queue_position: Annotated[
        int | None,
        Meta(
            description="The place of a job that is due and waits for the limits, 1 is the next one in its queue; 10001 means"
            " that or later. `explanation` says it in words. Null for all others, and in lists. It moves without `version`."
        ),
    ]
    cancel: CancelView | None
    rerun_of: UUID | None
    warnings: Sequence[Fault] | UnsetType = UNSET


class JobPage(msgspec.Struct, frozen=True, kw_only=True):
    """A page of jobs, newest first; `next_cursor` is null on the last one."""

    jobs: list[JobView]
    next_cursor: str | None


class VerdictView(msgspec.Struct, frozen=True, kw_only=True):
    """What was concluded about an attempt."""

    outcome: State
    reason: str
    explanation: str
    exit_code: int | None
    signal: int | None
    cause: Literal["permanent", "application", "infrastructure"] | None
    rule: str | None


class AttemptView(msgspec.Struct, frozen=True, kw_only=True):
    """One run of a job: one Kubernetes Job and its pod."""

    number: int
    namespace: str
    cluster_name: str
    cluster_uid: str | None
    pod_name: str | None
    node: str | None
    created_at: Time | None
    started_at: Time | None
    finished_at: Time | None
    gone_at: Time | None
    reason: str | None
    explanation: str | None
    exit_code: int | None
    logs: Annotated[
        Literal["following", "stored", "lost"] | None,
        Meta(description="How far its log is: followed, complete, or lost in whole or in part; null before."),
    ]
    logs_lost: str | None
    verdict: VerdictView | None


class AttemptList(msgspec.Struct, frozen=True, kw_only=True):
    """The attempts of a job, oldest first."""

    attempts: list[AttemptView]


class TransitionView(msgspec.Struct, frozen=True, kw_only=True):
    """One change of a job's state; `from_state` is null for the submit."""

    version: int
    attempt: int
    from_state: State | None
    to_state: State
    at: Time
    reason: str | None
    explanation: str | None
    exit_code: int | None


class TransitionList(msgspec.Struct, frozen=True, kw_only=True):
    """The history of a job, oldest first."""

    transitions: list[TransitionView]
    removed: Annotated[
        bool, Meta(description="Whether retention has removed the history; the job itself is still kept.")
    ]


class VersionView(msgspec.Struct, frozen=True, kw_only=True):
    """The server's version, and the oldest client that it works with."""

    version: str
    api_versions: list[str]
    minimum_client: str


def job_view(job: Job, *, warnings: Sequence[Fault] = (), standing: QueueStanding | None = None) -> JobView:
    """Return a job as the API shows it; one that waits also with where it stands."""
    explanation = " ".join(part for part in (job.explanation, admission.words(standing) if standing else "") if part)
    return JobView(
        id=job.id,
        name=job.name,
        state=job.state,
        version=job.version,
        queue=job.queue,
        namespace=job.namespace,
        priority=job.priority,
        owner=job.owner,
        labels=job.labels,
        attempt=job.attempt,
        reason=job.reason or None,
        explanation=explanation or None,
        exit_code=job.exit_code,
        created_at=job.created_at,
        due_at=job.due_at,
        admitted_at=job.admitted_at,
        started_at=job.started_at,
        finished_at=job.finished_at,
        queue_position=standing.position if standing else None,
        cancel=_cancel_view(job, job.cancel) if job.cancel else None,
        rerun_of=job.rerun_of,
        warnings=warnings or UNSET,
    )


def _cancel_view(job: Job, cancel: CancelRequest) -> CancelView:
    grace_seconds = job.policy.stop_grace_seconds if cancel.grace_seconds is None else cancel.grace_seconds
    return CancelView(
        at=cancel.at,
        by=cancel.by,
        reason=cancel.reason,
        grace_seconds=grace_seconds,
        outlook=_outlook(job, grace_seconds),
    )


def _outlook(job: Job, grace_seconds: int) -> str | None:
    """Return what becomes of a cancel in the phase that the job is in."""
    if job.terminal:
        return None
    if job.state is State.QUEUED:
        return "It is not created any more, and is cancelled once the cluster is known to hold nothing of it."
    if job.state is State.STOPPING:
        return "It is being stopped already; its end is recorded when nothing of it is left in the cluster."
    how = (
        f"it is asked to end (SIGTERM) and killed after {grace_seconds} s" if grace_seconds else "it is killed at once"
    )
    ends = "should it end by itself first, that end is recorded"
    if job.state is State.STARTING:
        return f"Its pod is removed; if its program has begun meanwhile, {how}. Then it is cancelled; {ends}."
    return f"If it still runs, {how}; it is cancelled when nothing of it is left in the cluster; {ends}."


def attempt_view(attempt: Attempt) -> AttemptView:
    """Return an attempt as the API shows it."""
    verdict = attempt.verdict
    return AttemptView(
        number=attempt.number,
        namespace=attempt.namespace,
        cluster_name=attempt.cluster_name,
        cluster_uid=attempt.cluster_uid,
        pod_name=attempt.pod_name or None,
        node=attempt.node or None,
        created_at=attempt.created_at,
        started_at=attempt.started_at,
        finished_at=attempt.finished_at,
        gone_at=attempt.gone_at,
        reason=verdict.reason if verdict else None,
        explanation=verdict.explanation or None if verdict else None,
        exit_code=verdict.exit_code if verdict else None,
        logs=attempt.logs or None,
        logs_lost=attempt.logs_lost or None,
        verdict=VerdictView(
            outcome=verdict.outcome,
            reason=verdict.reason,
            explanation=verdict.explanation,
            exit_code=verdict.exit_code,
            signal=verdict.signal,
            cause=verdict.cause or None,
            rule=verdict.rule or None,
        )
        if verdict
        else None,
    )


def transition_view(transition: Transition) -> TransitionView:
    """Return a transition as the API shows it."""
    return TransitionView(
        version=transition.version,
        attempt=transition.attempt,
        from_state=transition.from_state,
        to_state=transition.to_state,
        at=transition.at,
        reason=transition.reason or None,
        explanation=transition.explanation or None,
        exit_code=transition.exit_code,
    )
