"""`POST /v1/jobs:batch`: submit up to 1,000 jobs at once.

Each job is checked alone, so one bad spec does not refuse the others.
"""

import asyncio
from collections.abc import Sequence
from typing import Annotated, Any

import msgspec
from msgspec import UNSET, Meta, UnsetType

from kube_job_runner.domain.spec.changes import pointer
from kube_job_runner.domain.spec.model import JobSpec
from kube_job_runner.services.intake import Accepted, Intake
from kube_job_runner.web.api import submit_job
from kube_job_runner.web.api.problem_types import DOWN, IDEMPOTENCY_KEY_REUSE
from kube_job_runner.web.api.submit_job import JobSubmitted
from kube_job_runner.web.kit import problems
from kube_job_runner.web.kit.handling import Call, Document, Nothing, Reply
from kube_job_runner.web.kit.operations import Operation
from kube_job_runner.web.kit.problems import ProblemDetails, RequestProblem
from kube_job_runner.web.kit.queries import StrictQuery
from kube_job_runner.web.validation import fault, strict_json
from kube_job_runner.web.validation.body import BodyDecoder, Decoded
from kube_job_runner.web.validation.fault import Fault, Invalid
from kube_job_runner.web.validation.type_walk import kind

JOBS_MAX = 1000
FAULTS_MAX = 1000
"""Faults that the answer to one batch shows. When they are used up, each further bad job shows its first one."""
_AT_ONCE = 50


class BatchBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Jobs to submit at once."""

    jobs: Annotated[tuple[JobSpec, ...], Meta(min_length=1, max_length=JOBS_MAX, description="The job specs.")]


class BatchItem(msgspec.Struct, frozen=True, kw_only=True):
    """The answer for one job of a batch: `job` with status 201, or `problem` with its status."""

    status: Annotated[
        int, Meta(description="201 for a job that is stored; else the HTTP status that the job alone would get.")
    ]
    job: Annotated[JobSubmitted | UnsetType, Meta(description="The stored job.")] = UNSET
    problem: Annotated[ProblemDetails | UnsetType, Meta(description="Why the job was refused.")] = UNSET


class BatchAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """The answers of a batch, in the order of its jobs."""

    results: Annotated[list[BatchItem], Meta(description="One answer for each job, in the order of `jobs`.")]
    warnings: Annotated[
        Sequence[Fault], Meta(description="Unknown fields of the batch itself, which were ignored.")
    ] = ()


_decode = msgspec.json.Decoder(BatchBody).decode
_encode = msgspec.json.Encoder().encode
BatchCall = Call[Nothing, StrictQuery, Document[BatchBody]]


class Batch(msgspec.Struct, frozen=True):
    """The decoded jobs of a batch in their order, and warnings about fields of the batch itself."""

    items: list[Decoded[JobSpec]]
    warnings: Sequence[Fault] = ()


def read(raw: bytes, decoder: BodyDecoder[JobSpec], *, strict: bool) -> Batch:
    """Return the jobs of a batch, each with its value or its faults. Pointers lead into the whole body.

    Raises:
        Malformed: the body is not JSON.
        Invalid: `jobs` is not a list of 1 to 1,000.
    """
    batch = _fast(raw, decoder)
    return _read_slowly(raw, decoder, strict=strict) if batch is None else batch


def _fast(raw: bytes, decoder: BodyDecoder[JobSpec]) -> Batch | None:
    try:
        body = _decode(raw)
        if strict_json.plain(raw):
            return Batch([_judge(spec, index, decoder) for index, spec in enumerate(body.jobs)])
    except (ValueError, RecursionError):  # msgspec's errors and UnicodeDecodeError are ValueErrors
        pass
    return None


def _judge(spec: JobSpec, index: int, decoder: BodyDecoder[JobSpec]) -> Decoded[JobSpec]:
    faults = decoder.check(spec)
    if not faults:
        return Decoded(spec)
    return Decoded(faults=[msgspec.structs.replace(f, pointer=f"/jobs/{index}{f.pointer}") for f in faults])


def _read_slowly(raw: bytes, decoder: BodyDecoder[JobSpec], *, strict: bool) -> Batch:
    tree = strict_json.parse(raw)
    faults, jobs = _frame(tree)
    unknown = [pointer(name) for name in tree if name != "jobs"] if isinstance(tree, dict) else []
    if strict:
        faults += [Fault(at, "is not a known field (strict=true)") for at in unknown]
    if faults:
        raise Invalid(faults)
    warnings = [Fault(at, "is not a known field; it was ignored") for at in unknown[:100]]
    return Batch([decoder.item(job, strict=strict, at=f"/jobs/{index}") for index, job in enumerate(jobs)], warnings)


def _frame(tree: Any) -> tuple[list[Fault], list[Any]]:
    if not isinstance(tree, dict):
        return [Fault("", f'must be an object {{"jobs": [...]}}, not {kind(tree)}')], []
    if "jobs" not in tree:
        return [Fault("/jobs", "is required")], []
    jobs = tree["jobs"]
    if not isinstance(jobs, list):
        return [Fault("/jobs", f"must be an array of job specs, not {kind(jobs)}")], []
    if not 1 <= len(jobs) <= JOBS_MAX:
        return [Fault("/jobs", f"has {len(jobs)} entries; 1 to {JOBS_MAX} are allowed")], []
    return [], jobs


def operation(intake: Intake, decoder: BodyDecoder[JobSpec]) -> Operation:
    async def submit_batch(call: BatchCall) -> Reply[BatchAnswer]:
        """Store the jobs in one commit, with an answer for each."""
        key = submit_job.idempotency_key(call.headers)
        raw = call.body.raw
        batch = await call.body.decoding.run(
            raw, fast=lambda body: _fast(body, decoder), full=lambda body: read(body, decoder, strict=call.query.strict)
        )
        outcomes = await intake.submit_batch(
            [item.value for item in batch.items],
            owner=call.principal,
            answer=lambda job, index: submit_job.answer(job, batch.items[index].warnings),
            body=raw,
            key=key,
            parent=submit_job.trace_parent(call.headers),
        )
        return await _reply(batch, outcomes, call)

    return Operation(
        "POST",
        "/v1/jobs:batch",
        "submitJobs",
        "Submit up to 1,000 jobs at once",
        submit_batch,
        description="Each job is checked alone, and has an answer in `results`, in the order of `jobs`: 201 with the job, or the"
        " problem and its status. Pointers lead into the whole body (`/jobs/3/image`).",
        body_example={"jobs": [submit_job.SPEC_EXAMPLE, {"image": "docker.io/library/busybox:1.36"}]},
        answer_example={"results": [{"status": 201, "job": submit_job.EXAMPLE}], "warnings": []},
        request_headers=(submit_job.IDEMPOTENCY_KEY, submit_job.TRACEPARENT),
        response_headers=(submit_job.IDEMPOTENCY_REPLAYED,),
        problems=(IDEMPOTENCY_KEY_REUSE, *DOWN),
    )


async def _reply(batch: Batch, outcomes: Sequence[Accepted | Exception | None], call: BatchCall) -> Reply[BatchAnswer]:
    parts: list[bytes] = []
    faults_left = FAULTS_MAX
    for index, (item, outcome) in enumerate(zip(batch.items, outcomes, strict=True)):
        if index % _AT_ONCE == _AT_ONCE - 1:
            await asyncio.sleep(0)  # a thousand answers take a while
        if isinstance(outcome, Accepted):
            parts.append(b'{"status":201,"job":%s}' % outcome.answer)
        elif outcome is None:
            parts.append(_refused(problems.of_faults(item.faults), call, faults_max=max(1, faults_left)))
            faults_left -= len(item.faults)
        else:
            parts.append(_refused(RequestProblem(problems.INTERNAL_ERROR), call))
    content = b'{"results":[%s],"warnings":%s}' % (b",".join(parts), _encode(batch.warnings))
    stored = [outcome for outcome in outcomes if outcome is not None]
    replayed = bool(stored) and all(isinstance(one, Accepted) and one.replayed for one in stored)
    return Reply(content=content, headers=(submit_job.REPLAYED,) if replayed else ())


def _refused(problem: RequestProblem, call: BatchCall, *, faults_max: int = 1) -> bytes:
    document = problems.details(
        problem, instance=call.url, request_id=call.request_id, faults_max=min(faults_max, fault.FAULTS_MAX)
    )
    return b'{"status":%d,"problem":%s}' % (problem.type.status, problems.encode(document))
