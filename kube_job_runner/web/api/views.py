"""What the API answers and asks: the public shapes, apart from the rows of the store so that either may change."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Any, Literal
from uuid import UUID

import msgspec
from msgspec import UNSET, Meta, UnsetType

from kube_job_runner.domain import admission
from kube_job_runner.domain.admission import QueueStanding
from kube_job_runner.domain.job import Attempt, CancelRequest, Job, State, Transition
from kube_job_runner.domain.spec import JobSpec
from kube_job_runner.services.read import CURSOR_PATTERN, SELECTOR_MAX_LENGTH, SELECTOR_PATTERN
from kube_job_runner.web.kit.problems import Fault, ProblemDetails

BATCH_MAX = 1000
WAIT_PATTERN = r"^[0-9]{1,6}(\.[0-9]{1,6})?(ms|s|m)?$(?!\n)"
REASON_PATTERN = r"^[A-Za-z][A-Za-z0-9_-]*$(?!\n)"
Time = Annotated[datetime, Meta(tz=True)]


class JobPath(msgspec.Struct, frozen=True):
    """The job of a request."""

    id: Annotated[
        UUID, Meta(description="The id of the job. An unknown and a malformed id are both answered with 404.")
    ]


class ProblemPath(msgspec.Struct, frozen=True):
    """The problem of a page."""

    code: str


_NO_NUL: dict[str, Any] = {"pattern": r"^[^\u0000]*$"}  # the kit refuses a NUL in any query value


class SubmitQuery(msgspec.Struct, frozen=True):
    """How a body is read."""

    strict: Annotated[bool, Meta(description="Refuse unknown fields instead of ignoring them with a warning.")] = False


class JobQuery(msgspec.Struct, frozen=True):
    """Whether to wait for a change."""

    wait: (
        Annotated[
            str,
            Meta(
                pattern=WAIT_PATTERN,
                description="Wait this long (`30s`, `500ms`, `1m`; a bare number is seconds) for a version above `since`."
                " The server's own limit is 60 s unless configured otherwise; a longer wait is cut to it.",
            ),
        ]
        | None
    ) = None
    since: Annotated[int, Meta(ge=0, le=2**31 - 1, description="The version that is known already; see `wait`.")] = 0


class ListQuery(msgspec.Struct, frozen=True):
    """Which jobs to list."""

    state: Annotated[tuple[State, ...], Meta(description="States to show; repeat it, or join them by commas.")] = ()
    queue: Annotated[str, Meta(max_length=63, extra_json_schema=_NO_NUL, description="Jobs of this queue.")] | None = (
        None
    )
    name: Annotated[str, Meta(max_length=63, extra_json_schema=_NO_NUL, description="Jobs of this name.")] | None = None
    reason: (
        Annotated[
            str,
            Meta(
                min_length=1,
                max_length=63,
                pattern=REASON_PATTERN,
                description="Jobs that failed for this reason (`OutOfMemory`, or its category `out_of_memory`); with `state`,"
                " jobs of those states that have it.",
            ),
        ]
        | None
    ) = None
    rerun_of: Annotated[UUID, Meta(description="Jobs that run this one again.")] | None = None
    labels: (
        Annotated[
            str,
            Meta(
                max_length=SELECTOR_MAX_LENGTH,
                description="A label selector in Kubernetes' grammar, such as `team=a,tier in (web,db),!canary`.",
                extra_json_schema={"pattern": SELECTOR_PATTERN},
            ),
        ]
        | None
    ) = None
    created_after: (
        Annotated[datetime, Meta(tz=True, description="Jobs submitted after this time (RFC 3339).")] | None
    ) = None
    created_before: (
        Annotated[datetime, Meta(tz=True, description="Jobs submitted before this time (RFC 3339).")] | None
    ) = None
    limit: Annotated[int, Meta(ge=1, le=500, description="Jobs per page.")] = 50
    cursor: (
        Annotated[str, Meta(pattern=CURSOR_PATTERN, description="`next_cursor` of the last page, as it came.")] | None
    ) = None


class LogQuery(msgspec.Struct, frozen=True):
    """Which log to read."""

    follow: Annotated[bool, Meta(description="Wait for the start, and stay until the attempt has ended.")] = False
    tail: Annotated[int, Meta(ge=0, le=1_000_000, description="Only this many last lines.")] | None = None
    since: (
        Annotated[
            str,
            Meta(
                max_length=64,
                description="Only lines that are not older: a duration before now, such as `90s`, `10m`, `2h` or `1d`, or an"
                " RFC 3339 time. By the node's clock.",
                examples=["10m"],
            ),
        ]
        | None
    ) = None
    grep: (
        Annotated[
            str,
            Meta(
                min_length=1,
                max_length=1024,
                description="Only lines that hold this text, exactly; no pattern. Applied after `tail` and `since`.",
            ),
        ]
        | None
    ) = None
    container: Annotated[
        str, Meta(min_length=1, max_length=63, description="The container's name; the job's own is `main`.")
    ] = "main"
    timestamps: Annotated[bool, Meta(description="Before each line its time, in UTC with nanoseconds.")] = False
    frames: Annotated[
        bool,
        Meta(
            description="For programs: before each piece a line `PLACE LENGTH`, then so many bytes. A reader whose connection"
            " broke goes on with `after=PLACE` and repeats and misses nothing."
        ),
    ] = False
    after: (
        Annotated[str, Meta(max_length=32, description="Go on from the place of a frame; `tail` is of no effect.")]
        | None
    ) = None
    attempt: Annotated[int, Meta(ge=1, le=9999, description="The attempt's number; without it, the newest.")] | None = (
        None
    )


class ReadyQuery(msgspec.Struct, frozen=True):
    """How much a health answer says."""

    verbose: Annotated[bool, Meta(description="One line for each check.")] = False


class CancelBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Why a job is to end, and how fast."""

    reason: Annotated[str, Meta(max_length=1024)] = ""
    grace_seconds: (
        Annotated[
            int,
            Meta(
                ge=0,
                le=3600,
                description="How long the container has between SIGTERM and SIGKILL; 0 kills at once. Without it, what the"
                " job's spec says.",
            ),
        ]
        | None
    ) = None


class BatchBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Jobs to submit at once. Each is judged alone."""

    jobs: Annotated[tuple[JobSpec, ...], Meta(min_length=1, max_length=BATCH_MAX)]


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


class VersionView(msgspec.Struct, frozen=True, kw_only=True):
    """The server's version, and the oldest client that it works with."""

    version: str
    api_versions: list[str]
    minimum_client: str


def reason_code(name: str) -> str:
    """Return the reason code that a name means: `out_of_memory` and `out-of-memory` are `OutOfMemory`."""
    if name[:1].isupper() and "_" not in name and "-" not in name:
        return name
    return "".join(part[:1].upper() + part[1:] for part in name.replace("-", "_").split("_"))


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
