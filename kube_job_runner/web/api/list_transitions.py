"""`GET /v1/jobs/{id}/transitions`: the changes of a job's state."""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta

from kube_job_runner.domain.job import Transition
from kube_job_runner.domain.states import State
from kube_job_runner.ports import JobReader
from kube_job_runner.web.api.job_view import JobPath, Time, existing
from kube_job_runner.web.api.problem_types import DOWN
from kube_job_runner.web.kit.handling import Call, Nothing, Reply
from kube_job_runner.web.kit.operations import Operation


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


def operation(reader: JobReader) -> Operation:
    """Return the endpoint."""

    async def list_transitions(call: Call[JobPath, Nothing, Nothing]) -> Reply[TransitionList]:
        """Return the history of a job."""
        job_id = call.path.id
        found = await reader.list_transitions(job_id)
        if not found:
            existing(await reader.get_job(job_id), job_id)
        return Reply(TransitionList(removed=not found, transitions=[_view(one) for one in found]))

    return Operation(
        method="GET",
        path="/v1/jobs/{id}/transitions",
        operation_id="listTransitions",
        summary="List the changes of a job's state",
        handler=list_transitions,
        problems=DOWN,
    )


def _view(transition: Transition) -> TransitionView:
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
