"""`POST /v1/jobs/{id}:rerun`: run a job again, unchanged or changed."""

import hashlib
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from kube_job_runner.domain.errors import NotFound
from kube_job_runner.domain.job import Job
from kube_job_runner.domain.spec import changes
from kube_job_runner.domain.spec.model import JobSpec
from kube_job_runner.ports import JobReader
from kube_job_runner.services.intake import Intake
from kube_job_runner.web.api import submit_job
from kube_job_runner.web.api.job_view import JobPath
from kube_job_runner.web.api.problem_types import DOWN, IDEMPOTENCY_KEY_REUSE, JOB_NOT_ENDED, OVERLOADED
from kube_job_runner.web.api.submit_job import JobSubmitted
from kube_job_runner.web.kit.handling import Call, Reply
from kube_job_runner.web.kit.operations import Header, Operation
from kube_job_runner.web.kit.problems import RequestProblem
from kube_job_runner.web.kit.queries import StrictQuery
from kube_job_runner.web.validation.body import BodyDecoder
from kube_job_runner.web.validation.fault import Fault, Invalid

CHANGES_MAX = 100
_Path = Annotated[str, Meta(min_length=1, max_length=1024)]
_ANSWER = submit_job.EXAMPLE | {
    "id": "0199d1f2-9a10-7c55-9d02-6a1b2c3d4e5f",
    "created_at": "2026-01-15T09:42:00Z",
    "rerun_of": submit_job.EXAMPLE["id"],
}
_canonical = msgspec.json.Encoder(order="deterministic").encode


class RerunBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What the rerun changes."""

    set: Annotated[
        dict[_Path, Any],
        Meta(
            max_length=CHANGES_MAX,
            description="New values by path: `resources.memory`, `args[0]`, `env.MODE`, or a JSON pointer. Null removes a"
            " field, so that its default holds. Faults of the new spec have pointers into the spec (`in` is `spec`).",
        ),
    ] = {}
    force: Annotated[bool, Meta(description="Also run it again while it has not ended. Both may then run at once.")] = (
        False
    )


def operation(reader: JobReader, intake: Intake, decoder: BodyDecoder[JobSpec]) -> Operation:
    async def rerun(call: Call[JobPath, StrictQuery, RerunBody]) -> Reply[JobSubmitted]:
        """Store a new job of the same spec, with the changes."""
        key = submit_job.idempotency_key(call.headers)
        job_id = call.path.id
        job, encoded = await reader.get_job(job_id), await reader.get_spec(job_id)
        if job is None or encoded is None:
            raise NotFound(f"there is no job {job_id}")
        if not job.terminal and not call.body.force:
            raise RequestProblem(JOB_NOT_ENDED, _still(job))
        accepted = await intake.submit(
            _changed(encoded, call.body.set, decoder),
            owner=call.principal,
            answer=lambda new: submit_job.answer(new, call.warnings),
            key=key,
            request_hash=hashlib.sha256(_canonical([str(job_id), call.body])).digest(),
            rerun_of=job,
            parent=submit_job.trace_parent(call.headers),
        )
        return submit_job.reply(accepted)

    return Operation(
        "POST",
        "/v1/jobs/{id}:rerun",
        "rerunJob",
        "Run a job again, as it was or changed",
        rerun,
        description="Stores a new job with the same spec, changed by `set`. `rerun_of` names the old job. The new spec is checked"
        " like that of a submit. For a job that has not ended the answer is 409, unless `force` is true.",
        status=201,
        body_optional=True,
        body_example={"set": {"resources.memory": "2Gi"}},
        answer_example=_ANSWER,
        request_headers=(submit_job.IDEMPOTENCY_KEY, submit_job.TRACEPARENT),
        response_headers=(
            Header(name="Location", description="The path of the new job."),
            submit_job.IDEMPOTENCY_REPLAYED,
        ),
        problems=(JOB_NOT_ENDED, IDEMPOTENCY_KEY_REUSE, OVERLOADED, *DOWN),
    )


def _changed(encoded: bytes, wanted: dict[str, Any], decoder: BodyDecoder[JobSpec]) -> JobSpec:
    """Return a stored spec with changes.

    Raises:
        Invalid: a path of the changes is wrong, or the changed spec is.
    """
    tree, wrong = changes.apply(msgspec.json.decode(encoded), wanted)
    if wrong:
        raise Invalid([Fault(changes.pointer("set", fault.path), fault.detail) for fault in wrong])
    decoded = decoder.item(tree, strict=True)
    if decoded.value is None:
        raise Invalid([_of_spec(fault) for fault in decoded.faults])
    return decoded.value


def _still(job: Job) -> str:
    return f"the job is {job.state}: cancel it first, or set force=true to run both"


def _of_spec(fault: Fault) -> Fault:
    detail = fault.detail.removesuffix(" (strict=true)")
    return Fault(fault.pointer, detail, "spec")
