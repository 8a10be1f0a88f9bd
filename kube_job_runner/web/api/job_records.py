"""`GET /v1/jobs/{id}/attempts`, `/transitions`, `/spec` and `/timeline`: the records of a job."""

from typing import Annotated, Literal
from uuid import UUID

import msgspec
from msgspec import Meta

from kube_job_runner.domain.errors import NotFound
from kube_job_runner.domain.job import Attempt
from kube_job_runner.domain.record.timeline import Name
from kube_job_runner.domain.spec.model import JobSpec
from kube_job_runner.domain.states import State
from kube_job_runner.ports import JobReader
from kube_job_runner.services.explainer import Explainer
from kube_job_runner.web.api import submit_job
from kube_job_runner.web.api.job_view import Cause, JobPath, Time, existing, view_of
from kube_job_runner.web.api.problem_types import DOWN
from kube_job_runner.web.kit.handling import Call, Nothing, Reply
from kube_job_runner.web.kit.operations import Operation


class VerdictView(msgspec.Struct, frozen=True, kw_only=True):
    """The verdict about an attempt."""

    outcome: Annotated[State, Meta(description="`succeeded`, `failed` or `cancelled`.")]
    reason: Annotated[str, Meta(description="The reason code, such as `OutOfMemory`.")]
    explanation: Annotated[str, Meta(description="One sentence with the cause and what to do.")]
    exit_code: Annotated[int | None, Meta(description="The exit code of the container, if it has one.")]
    signal: Annotated[int | None, Meta(description="The number of the signal that killed the container, if one did.")]
    cause: Annotated[Cause | None, Meta(description="Whose failure it is; null when the attempt did not fail.")]
    rule: Annotated[str | None, Meta(description="The row of the failure table that matched.")]


class AttemptView(msgspec.Struct, frozen=True, kw_only=True):
    """One run of a job: one Kubernetes Job and its pod."""

    number: Annotated[int, Meta(description="1 for the first attempt.")]
    namespace: Annotated[str, Meta(description="The namespace of its Kubernetes Job.")]
    cluster_name: Annotated[str, Meta(description="The name of its Kubernetes Job.")]
    cluster_uid: Annotated[
        str | None, Meta(description="The UID of its Kubernetes Job; null until it is known to exist.")
    ]
    pod_name: Annotated[str | None, Meta(description="The name of its pod; null until it was seen.")]
    node: Annotated[str | None, Meta(description="The node of its pod; null until it was scheduled.")]
    created_at: Annotated[Time | None, Meta(description="When its Kubernetes Job was created.")]
    started_at: Annotated[Time | None, Meta(description="When its container started.")]
    finished_at: Annotated[Time | None, Meta(description="When its container ended.")]
    gone_at: Annotated[Time | None, Meta(description="When its Kubernetes Job was known to have left the cluster.")]
    reason: Annotated[str | None, Meta(description="The reason code of its verdict.")]
    explanation: Annotated[str | None, Meta(description="The explanation of its verdict.")]
    exit_code: Annotated[int | None, Meta(description="The exit code of its container, if it has one.")]
    logs: Annotated[
        Literal["following", "stored", "lost"] | None,
        Meta(description="State of its log: followed, stored completely, or lost at least in part; null before."),
    ]
    logs_lost: Annotated[str | None, Meta(description="Why its log is not complete.")]
    verdict: Annotated[VerdictView | None, Meta(description="The verdict about it; null while it runs.")]


class AttemptList(msgspec.Struct, frozen=True, kw_only=True):
    """The attempts of a job, oldest first."""

    attempts: Annotated[list[AttemptView], Meta(description="The attempts, oldest first.")]


def attempts(reader: JobReader) -> Operation:
    async def list_attempts(call: Call[JobPath, Nothing, Nothing]) -> Reply[AttemptList]:
        job_id = call.path.id
        attempts = await reader.list_attempts(job_id)
        if not attempts:
            existing(await reader.get_job(job_id), job_id)
        return Reply(AttemptList(attempts=[_attempt(attempt) for attempt in attempts]))

    return Operation(
        "GET", "/v1/jobs/{id}/attempts", "listAttempts", "List the attempts of a job", list_attempts, problems=DOWN
    )


def _attempt(attempt: Attempt) -> AttemptView:
    verdict = attempt.verdict
    return view_of(
        AttemptView,
        attempt,
        reason=verdict.reason if verdict else None,
        explanation=verdict.explanation or None if verdict else None,
        exit_code=verdict.exit_code if verdict else None,
        verdict=view_of(VerdictView, verdict) if verdict else None,
    )


class TransitionView(msgspec.Struct, frozen=True, kw_only=True):
    """One change of a job's state."""

    version: Annotated[int, Meta(description="The version of the job after this change.")]
    attempt: Annotated[int, Meta(description="The number of the attempt; 0 before the first.")]
    from_state: Annotated[State | None, Meta(description="The state before; null for the submit.")]
    to_state: Annotated[State, Meta(description="The state after.")]
    at: Annotated[Time, Meta(description="When it happened.")]
    reason: Annotated[str | None, Meta(description="The reason code of the change.")]
    explanation: Annotated[str | None, Meta(description="One sentence about the change.")]
    exit_code: Annotated[int | None, Meta(description="The exit code of the container, if the change is its end.")]


class TransitionList(msgspec.Struct, frozen=True, kw_only=True):
    """The history of a job, oldest first."""

    transitions: Annotated[list[TransitionView], Meta(description="The changes, oldest first.")]
    removed: Annotated[
        bool, Meta(description="Whether retention has removed the history. The job itself is still kept.")
    ]


def transitions(reader: JobReader) -> Operation:
    async def list_transitions(call: Call[JobPath, Nothing, Nothing]) -> Reply[TransitionList]:
        job_id = call.path.id
        found = await reader.list_transitions(job_id)
        if not found:
            existing(await reader.get_job(job_id), job_id)
        return Reply(TransitionList(removed=not found, transitions=[view_of(TransitionView, one) for one in found]))

    return Operation(
        "GET",
        "/v1/jobs/{id}/transitions",
        "listTransitions",
        "List the changes of a job's state",
        list_transitions,
        problems=DOWN,
    )


def spec(reader: JobReader) -> Operation:
    async def get_spec(call: Call[JobPath, Nothing, Nothing]) -> Reply[JobSpec]:
        encoded = await reader.get_spec(call.path.id)
        if encoded is None:
            raise NotFound(f"there is no job {call.path.id}")
        return Reply(content=encoded)

    return Operation(
        "GET",
        "/v1/jobs/{id}/spec",
        "getJobSpec",
        "Get the spec of a job",
        get_spec,
        answer_example=submit_job.SPEC_EXAMPLE,
        problems=DOWN,
    )


class PhaseView(msgspec.Struct, frozen=True, kw_only=True):
    """One phase of an attempt."""

    attempt: Annotated[int, Meta(description="The number of the attempt.")]
    name: Annotated[Name, Meta(description="The phase.")]
    started_at: Annotated[Time, Meta(description="When it began.")]
    ended_at: Annotated[Time | None, Meta(description="When it ended; null while it lasts.")]
    deadline: Annotated[Time | None, Meta(description="When a timeout of the spec ends it; null once it has ended.")]
    reason: Annotated[str | None, Meta(description="Why it lasts, or how the attempt ended in it.")]


class TimelineView(msgspec.Struct, frozen=True, kw_only=True):
    """The phases of all attempts of a job, oldest first, as of `now` by the server's clock."""

    job_id: Annotated[UUID, Meta(description="The id of the job.")]
    state: Annotated[State, Meta(description="Its state.")]
    version: Annotated[int, Meta(description="Its version.")]
    now: Annotated[Time, Meta(description="The time of the server at this answer.")]
    phases: Annotated[list[PhaseView], Meta(description="The phases of all attempts, oldest first.")]


def timeline(explainer: Explainer) -> Operation:
    async def get_timeline(call: Call[JobPath, Nothing, Nothing]) -> Reply[TimelineView]:
        """Return the phases of all attempts of a job."""
        seen = await explainer.timeline(call.path.id)
        job = seen.job
        phases = [view_of(PhaseView, one) for one in seen.phases]
        return Reply(TimelineView(job_id=job.id, state=job.state, version=job.version, now=seen.now, phases=phases))

    return Operation(
        "GET",
        "/v1/jobs/{id}/timeline",
        "getJobTimeline",
        "Get the phases of a job",
        get_timeline,
        description="The phases of every attempt: queued, created, scheduled, pulling, starting, running, finishing. Each has its"
        " times, its deadline and, while it lasts, its reason. A phase that was never observed is left out.",
        problems=DOWN,
    )
