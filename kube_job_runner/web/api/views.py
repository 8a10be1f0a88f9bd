"""What the API answers and asks: the public shapes, apart from the rows of the store so that either may change."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Any, Literal
from uuid import UUID

import msgspec
from msgspec import UNSET, Meta, UnsetType

from kube_job_runner.domain.job import Attempt, Job, State, Transition
from kube_job_runner.domain.spec import JobSpec
from kube_job_runner.services.read import CURSOR_PATTERN, SELECTOR_MAX_LENGTH, SELECTOR_PATTERN
from kube_job_runner.web.kit.problems import Fault, ProblemDetails

BATCH_MAX = 1000
WAIT_PATTERN = r"^[0-9]{1,6}(\.[0-9]{1,6})?(ms|s|m)?$(?!\n)"
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
    """Why a job is to end."""

    reason: Annotated[str, Meta(max_length=1024)] = ""


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
    """A cancel request: when, by whom, and why."""

    at: Time
    by: str
    reason: str


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
    started_at: Time | None
    finished_at: Time | None
    cancel: CancelView | None
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
    retryable: bool


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


def job_view(job: Job, *, warnings: Sequence[Fault] = ()) -> JobView:
    """Return a job as the API shows it."""
    cancel = job.cancel
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
        explanation=job.explanation or None,
        exit_code=job.exit_code,
        created_at=job.created_at,
        due_at=job.due_at,
        started_at=job.started_at,
        finished_at=job.finished_at,
        cancel=CancelView(at=cancel.at, by=cancel.by, reason=cancel.reason) if cancel else None,
        warnings=warnings or UNSET,
    )


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
            retryable=verdict.retryable,
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
