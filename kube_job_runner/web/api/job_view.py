"""The public shape of a job. It is separate from the rows of the store, so that each may change."""

import functools
import typing
from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Any, Literal, TypeVar
from uuid import UUID

import msgspec
from msgspec import UNSET, Meta, UnsetType

from kube_job_runner.domain.decide import admission, parking
from kube_job_runner.domain.decide.admission import QueueStanding
from kube_job_runner.domain.errors import NotFound
from kube_job_runner.domain.job import CancelRequest, Job
from kube_job_runner.domain.states import State
from kube_job_runner.web.validation.fault import Fault

ViewT = TypeVar("ViewT", bound=msgspec.Struct)
Time = Annotated[datetime, Meta(tz=True)]
Cause = Literal["permanent", "application", "infrastructure"]


class JobPath(msgspec.Struct, frozen=True):
    """The job that a request is about."""

    id: Annotated[
        UUID, Meta(description="The id of the job. An unknown id and a malformed one are both answered with 404.")
    ]


class CancelView(msgspec.Struct, frozen=True, kw_only=True):
    """A cancel request: when, by whom, why, and with which grace period."""

    at: Annotated[Time, Meta(description="When the cancel was asked for.")]
    by: Annotated[str, Meta(description="Who asked: the owner of the token.")]
    reason: Annotated[str, Meta(description="Why, in the words of the request.")]
    grace_seconds: Annotated[int, Meta(description="Time between SIGTERM and SIGKILL.")]
    outlook: Annotated[str | None, Meta(description="What happens now; null once the job has ended.")]


class JobView(msgspec.Struct, frozen=True, kw_only=True):
    """A job as it is now. A terminal state never changes."""

    id: Annotated[UUID, Meta(description="The id of the job.")]
    name: Annotated[str, Meta(description="Its name; not unique.")]
    state: Annotated[State, Meta(description="Its state.")]
    version: Annotated[int, Meta(description="Grows with each change of the job.")]
    queue: Annotated[str, Meta(description="Its queue.")]
    namespace: Annotated[str, Meta(description="The Kubernetes namespace that it runs in.")]
    priority: Annotated[int, Meta(description="Its priority; higher is created first.")]
    owner: Annotated[str, Meta(description="Who submitted it: the owner of the token.")]
    labels: Annotated[dict[str, str], Meta(description="The labels of its spec.")]
    attempt: Annotated[int, Meta(description="The number of its newest attempt; 0 before the first.")]
    reason: Annotated[
        str | None, Meta(description="A reason code such as `OutOfMemory`: how the job ended, or why it waits.")
    ]
    explanation: Annotated[str | None, Meta(description="One sentence: what happened, or what the job waits for.")]
    exit_code: Annotated[int | None, Meta(description="The exit code of its container; null while none is known.")]
    created_at: Annotated[Time, Meta(description="When it was submitted.")]
    due_at: Annotated[Time, Meta(description="When it is due: its submit, or the end of the wait before a retry.")]
    admitted_at: Annotated[Time | None, Meta(description="When its newest attempt was admitted, that is, got a slot.")]
    started_at: Annotated[Time | None, Meta(description="When the container of its newest attempt started.")]
    finished_at: Annotated[Time | None, Meta(description="When it ended.")]
    queue_position: Annotated[
        int | None,
        Meta(
            description="The position of a waiting job; 1 is the next one in its queue, and 10001 means 10001 or later."
            " `explanation` says it in words. Null for jobs that do not wait for a slot, and in lists. It changes without"
            " `version`."
        ),
    ]
    cancel: Annotated[CancelView | None, Meta(description="The cancel request; null without one.")]
    rerun_of: Annotated[UUID | None, Meta(description="The job that it runs again; null when it is not a rerun.")]
    warnings: Annotated[Sequence[Fault] | UnsetType, Meta(description="Warnings about the body of the request.")] = (
        UNSET
    )


def view_of(type_: type[ViewT], source: object, **more: Any) -> ViewT:
    """Return the view of something with attributes of the same names; `more` holds the fields that are not.

    An empty text is null in a field that may be null.
    """
    for field in msgspec.structs.fields(type_):
        if field.name not in more:
            value = getattr(source, field.name)
            more[field.name] = None if value == "" and _may_be_null(type_, field.name) else value
    return type_(**more)


@functools.cache
def _may_be_null(type_: type[msgspec.Struct], name: str) -> bool:
    hint = typing.get_type_hints(type_)[name]
    return type(None) in typing.get_args(hint)


def existing(job: Job | None, job_id: UUID) -> Job:
    """Return the job that was found.

    Raises:
        NotFound: there is none.
    """
    if job is None:
        raise NotFound(f"there is no job {job_id}")
    return job


def job_view(job: Job, *, warnings: Sequence[Fault] = (), standing: QueueStanding | None = None) -> JobView:
    """Return a job as the API shows it. `standing` is the place of a waiting job."""
    explanation = job.explanation
    if standing is not None and not (standing.parked and explanation.startswith(parking.WAITING)):
        explanation = f"{explanation} {admission.words(standing)}".strip()
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
    """Return what a cancel does in the present phase of the job."""
    if job.terminal:
        return None
    if job.state is State.QUEUED:
        return "It will not be created. It is cancelled when nothing of it is left in the cluster."
    if job.state is State.STOPPING:
        return "It is already being stopped. Its end is recorded when nothing of it is left in the cluster."
    how = f"it gets SIGTERM, and SIGKILL after {grace_seconds} s" if grace_seconds else "it is killed at once"
    ends = "If it ends by itself first, that end is recorded."
    if job.state is State.STARTING:
        return f"Its pod is removed. If its program has started meanwhile, {how}. Then it is cancelled. {ends}"
    return f"If it still runs, {how}. It is cancelled when nothing of it is left in the cluster. {ends}"
