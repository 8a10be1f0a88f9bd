"""`POST /v1/jobs`: submit a job; and what all submits share: the decoder of specs, their headers, their answer.

This is the hot path, so a request makes few objects.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Annotated, Any
from uuid import UUID

import msgspec
from msgspec import UNSET, Meta, UnsetType

from kube_job_runner.domain.job import Job
from kube_job_runner.domain.limits import SpecLimits
from kube_job_runner.domain.record import trace
from kube_job_runner.domain.spec import check
from kube_job_runner.domain.spec.model import JobSpec
from kube_job_runner.domain.states import State
from kube_job_runner.services.intake import Accepted, Intake
from kube_job_runner.web.api.job_view import Time
from kube_job_runner.web.api.problem_types import DOWN, IDEMPOTENCY_KEY_REUSE, OVERLOADED
from kube_job_runner.web.kit.handling import Call, Nothing, Reply
from kube_job_runner.web.kit.operations import Header, Operation
from kube_job_runner.web.kit.problems import MALFORMED_HEADER, RequestProblem
from kube_job_runner.web.kit.queries import StrictQuery
from kube_job_runner.web.validation.body import BodyDecoder
from kube_job_runner.web.validation.fault import Fault

_encode = msgspec.json.Encoder().encode
KEY_MAX_LENGTH = 255
_PRINTABLE = re.compile(rb"[\x20-\x7e]{1,255}")
_QUOTED = re.compile(rb'"((?:[\x20-\x21\x23-\x5b\x5d-\x7e]|\\["\\])*)"')

IDEMPOTENCY_KEY = Header(
    name="Idempotency-Key",
    description="1 to 255 printable ASCII characters, bare or as a quoted string (RFC 9651). A request with the same key and the"
    " same body gets the first answer again, with `Idempotency-Replayed: true`. With another body it is refused. Keys are"
    " kept for 7 days, unless configured otherwise.",
    schema={"type": "string", "minLength": 1, "maxLength": KEY_MAX_LENGTH, "pattern": r"^[!#-~]([ -~]*[!-~])?$(?!\n)"},
)
IDEMPOTENCY_REPLAYED = Header(
    name="Idempotency-Replayed",
    description="`true` when this is the answer of an earlier request with the same key.",
    schema={"type": "string", "enum": ["true"]},
)
REPLAYED = (b"idempotency-replayed", b"true")
TRACEPARENT = Header(
    name="traceparent",
    description="The trace of the caller (W3C Trace Context). The job belongs to this trace, and its container finds it in"
    " `TRACEPARENT`. For a batch it holds for every job. An invalid header is ignored.",
)
SPEC_EXAMPLE: dict[str, Any] = {
    "image": "docker.io/library/busybox:1.36",
    "name": "hello",
    "command": ["sh", "-c"],
    "args": ["echo hello; exit 0"],
    "env": {"GREETING": "hello"},
    "resources": {"cpu": "250m", "memory": "64Mi"},
    "timeouts": {"run_seconds": 600},
    "retry": {"attempts": 3, "backoff_seconds": 10},
    "labels": {"team": "data"},
}
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


def spec_decoder(limits: SpecLimits) -> BodyDecoder[JobSpec]:
    """Return the decoder of job specs under the limits of this installation."""

    def faults(spec: JobSpec) -> list[Fault]:
        return [Fault(problem.pointer, problem.detail) for problem in check.check(spec, limits)]

    return BodyDecoder(JobSpec, check=faults, example={"image": SPEC_EXAMPLE["image"]})


def idempotency_key(headers: Mapping[bytes, bytes]) -> str | None:
    """Return the idempotency key of a request, or None when it has none.

    The header is a structured-field string in quotes (draft-ietf-httpapi-idempotency-key-header); a bare value is accepted
    too, because most clients send one.

    Raises:
        RequestProblem: 400, the header is not in its grammar.
    """
    given = headers.get(b"idempotency-key")
    if given is None:
        return None
    text: bytes = given.strip()
    if text.startswith(b'"'):
        match = _QUOTED.fullmatch(text)
        text = re.sub(rb"\\(.)", rb"\1", match[1]) if match else b""
    if not _PRINTABLE.fullmatch(text):
        detail = f"must be 1 to {KEY_MAX_LENGTH} printable ASCII characters, bare or in double quotes"
        fault = Fault("/Idempotency-Key", detail, "header")
        raise RequestProblem(MALFORMED_HEADER, f"Idempotency-Key {detail}", faults=[fault])
    return text.decode("ascii")


def trace_parent(headers: Mapping[bytes, bytes]) -> trace.TraceContext | None:
    """Return the trace context of a request; None when it has none. W3C says to ignore an invalid one."""
    given = headers.get(b"traceparent")
    return None if given is None else trace.parse(given.decode("latin-1").strip(" \t"))


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
    location = (b"location", f"/v1/jobs/{accepted.job_id}".encode())
    headers = (location, REPLAYED) if accepted.replayed else (location,)
    return Reply(content=accepted.answer, headers=headers)


def operation(intake: Intake, decoder: BodyDecoder[JobSpec]) -> Operation:
    async def submit(call: Call[Nothing, StrictQuery, JobSpec]) -> Reply[JobSubmitted]:
        accepted = await intake.submit(
            call.body,
            owner=call.principal,
            answer=lambda job: answer(job, call.warnings),
            key=idempotency_key(call.headers),
            parent=trace_parent(call.headers),
        )
        return reply(accepted)

    return Operation(
        "POST",
        "/v1/jobs",
        "submitJob",
        "Submit a job",
        submit,
        description="The answer comes after the job is stored durably. An acknowledged job is never lost.",
        status=201,
        decoder=decoder,
        body_example=SPEC_EXAMPLE,
        answer_example=EXAMPLE,
        request_headers=(IDEMPOTENCY_KEY, TRACEPARENT),
        response_headers=(Header(name="Location", description="The path of the job."), IDEMPOTENCY_REPLAYED),
        problems=(IDEMPOTENCY_KEY_REUSE, OVERLOADED, *DOWN),
    )
