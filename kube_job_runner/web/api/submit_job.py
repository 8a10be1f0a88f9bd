"""`POST /v1/jobs`: submit a job. This is the hot path, so a request makes few objects."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated
from uuid import UUID

import msgspec
from msgspec import UNSET, Meta, UnsetType

from kube_job_runner.domain.job import Job
from kube_job_runner.domain.spec.model import JobSpec
from kube_job_runner.domain.states import State
from kube_job_runner.services.intake import Accepted, Intake
from kube_job_runner.web.api import job_specs, submit_headers
from kube_job_runner.web.api.job_specs import StrictQuery
from kube_job_runner.web.api.job_view import Time
from kube_job_runner.web.api.problem_types import DOWN, IDEMPOTENCY_KEY_REUSE, OVERLOADED
from kube_job_runner.web.kit.handling import Call, Nothing, Reply
from kube_job_runner.web.kit.operations import Header, Operation
from kube_job_runner.web.validation.body import BodyDecoder
from kube_job_runner.web.validation.fault import Fault

_encode = msgspec.json.Encoder().encode

EXAMPLE = {
    "id": "0199d1f2-7c00-7a3b-8c4d-5e6f708192a3",
    "name": "hello",
    "state": "queued",
    "version": 1,
    "created_at": "2026-01-15T09:30:00Z",
    "queue": "default",
    "namespace": "default",
    "warnings": [],
}


class JobSubmitted(msgspec.Struct, frozen=True, kw_only=True):
    """A job that is stored. It will run, even if the server is lost."""

    id: Annotated[UUID, Meta(description="The id of the new job.")]
    name: Annotated[str, Meta(description="Its name; made of the image when the spec has none.")]
    state: Annotated[State, Meta(description="Its state when it was stored.")]
    version: Annotated[int, Meta(description="Its version; grows with each change.")]
    created_at: Annotated[Time, Meta(description="When it was submitted.")]
    queue: Annotated[str, Meta(description="The queue that it waits in.")]
    namespace: Annotated[str, Meta(description="The Kubernetes namespace that it runs in.")]
    rerun_of: Annotated[UUID | UnsetType, Meta(description="The job that it runs again; only for a rerun.")] = UNSET
    warnings: Annotated[Sequence[Fault], Meta(description="Unknown fields of the request, which were ignored.")] = ()


def answer(job: Job, warnings: Sequence[Fault]) -> bytes:
    """Return the encoded answer for a new job."""
    return _encode(
        JobSubmitted(
            id=job.id,
            name=job.name,
            state=job.state,
            version=job.version,
            created_at=job.created_at,
            queue=job.queue,
            namespace=job.namespace,
            rerun_of=job.rerun_of or UNSET,
            warnings=warnings,
        )
    )


def reply(accepted: Accepted) -> Reply[JobSubmitted]:
    """Return the reply for a stored job."""
    location = (b"location", f"/v1/jobs/{accepted.job_id}".encode())
    headers = (location, submit_headers.REPLAYED) if accepted.replayed else (location,)
    return Reply(content=accepted.answer, headers=headers)


def operation(intake: Intake, decoder: BodyDecoder[JobSpec]) -> Operation:
    """Return the endpoint."""

    async def submit(call: Call[Nothing, StrictQuery, JobSpec]) -> Reply[JobSubmitted]:
        """Store one job."""
        accepted = await intake.submit(
            call.body,
            owner=call.principal,
            answer=lambda job: answer(job, call.warnings),
            key=submit_headers.idempotency_key(call.headers),
            parent=submit_headers.trace_parent(call.headers),
        )
        return reply(accepted)

    return Operation(
        method="POST",
        path="/v1/jobs",
        operation_id="submitJob",
        summary="Submit a job",
        description="The answer comes after the job is stored durably. An acknowledged job is never lost.",
        handler=submit,
        status=201,
        decoder=decoder,
        body_example=job_specs.EXAMPLE,
        answer_example=EXAMPLE,
        request_headers=(submit_headers.IDEMPOTENCY_KEY, submit_headers.TRACEPARENT),
        response_headers=(
            Header(name="Location", description="The path of the job."),
            submit_headers.IDEMPOTENCY_REPLAYED,
        ),
        problems=(IDEMPOTENCY_KEY_REUSE, OVERLOADED, *DOWN),
    )
