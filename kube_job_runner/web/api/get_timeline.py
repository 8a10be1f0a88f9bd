"""`GET /v1/jobs/{id}/timeline`: the phases of a job."""

from __future__ import annotations

from typing import Annotated
from uuid import UUID

import msgspec
from msgspec import Meta

from kube_job_runner.domain.record.timeline import Name, Phase
from kube_job_runner.domain.states import State
from kube_job_runner.services.explainer import Explainer
from kube_job_runner.web.api.job_view import JobPath, Time
from kube_job_runner.web.api.problem_types import DOWN
from kube_job_runner.web.kit.handling import Call, Nothing, Reply
from kube_job_runner.web.kit.operations import Operation


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


def operation(explainer: Explainer) -> Operation:
    """Return the endpoint."""

    async def get_timeline(call: Call[JobPath, Nothing, Nothing]) -> Reply[TimelineView]:
        """Return the phases of all attempts of a job."""
        seen = await explainer.timeline(call.path.id)
        job = seen.job
        phases = [_phase(one) for one in seen.phases]
        return Reply(TimelineView(job_id=job.id, state=job.state, version=job.version, now=seen.now, phases=phases))

    return Operation(
        method="GET",
        path="/v1/jobs/{id}/timeline",
        operation_id="getJobTimeline",
        summary="Get the phases of a job",
        description="The phases of every attempt: queued, created, scheduled, pulling, starting, running, finishing. Each has its"
        " times, its deadline and, while it lasts, its reason. A phase that was never observed is left out.",
        handler=get_timeline,
        problems=DOWN,
    )


def _phase(phase: Phase) -> PhaseView:
    return PhaseView(
        attempt=phase.attempt,
        name=phase.name,
        started_at=phase.started_at,
        ended_at=phase.ended_at,
        deadline=phase.deadline,
        reason=phase.reason or None,
    )
