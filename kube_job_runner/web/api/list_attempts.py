"""`GET /v1/jobs/{id}/attempts`: the attempts of a job."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from kube_job_runner.domain.job import Attempt
from kube_job_runner.domain.states import State
from kube_job_runner.ports import JobReader
from kube_job_runner.web.api.job_view import Cause, JobPath, Time, existing
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


def operation(reader: JobReader) -> Operation:
    """Return the endpoint."""

    async def list_attempts(call: Call[JobPath, Nothing, Nothing]) -> Reply[AttemptList]:
        """Return the attempts of a job."""
        job_id = call.path.id
        attempts = await reader.list_attempts(job_id)
        if not attempts:
            existing(await reader.get_job(job_id), job_id)
        return Reply(AttemptList(attempts=[_view(attempt) for attempt in attempts]))

    return Operation(
        method="GET",
        path="/v1/jobs/{id}/attempts",
        operation_id="listAttempts",
        summary="List the attempts of a job",
        handler=list_attempts,
        problems=DOWN,
    )


def _view(attempt: Attempt) -> AttemptView:
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
