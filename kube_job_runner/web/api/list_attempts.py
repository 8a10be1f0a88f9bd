"""`GET /v1/jobs/{id}/attempts`: the attempts of a job."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from kube_job_runner.domain.job import Attempt
from kube_job_runner.domain.states import State
from kube_job_runner.ports import JobReader
from kube_job_runner.web.api.job_view import JobPath, Time, existing
from kube_job_runner.web.api.problem_types import DOWN
from kube_job_runner.web.kit.handling import Call, Nothing, Reply
from kube_job_runner.web.kit.operations import Operation


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
