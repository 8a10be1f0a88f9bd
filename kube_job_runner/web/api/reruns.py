"""Running a job again: a new job of the stored spec, changed where asked, judged by the checks of any submit."""

from __future__ import annotations

import hashlib
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from kube_job_runner.domain.errors import NotFound
from kube_job_runner.domain.job import Job
from kube_job_runner.domain.spec import changes
from kube_job_runner.ports import JobReader
from kube_job_runner.web.api import idempotency, traceheader
from kube_job_runner.web.api.problems import JOB_NOT_ENDED
from kube_job_runner.web.api.queries import JobPath, SubmitQuery
from kube_job_runner.web.api.submits import SubmitApi
from kube_job_runner.web.api.views import JobSubmitted
from kube_job_runner.web.kit.handling import Call, Reply
from kube_job_runner.web.kit.problems import RequestProblem
from kube_job_runner.web.validation.fault import Fault, Invalid

CHANGES_MAX = 100
_Path = Annotated[str, Meta(min_length=1, max_length=1024)]
_canonical = msgspec.json.Encoder(order="deterministic").encode


class RerunBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What is to be different this time."""

    set: Annotated[
        dict[_Path, Any],
        Meta(
            max_length=CHANGES_MAX,
            description="New values by path: `resources.memory`, `args[0]`, `env.MODE`, or a JSON pointer. Null takes a"
            " field out, so that its default holds. Faults of the new spec have pointers into the spec (`in` is `spec`).",
        ),
    ] = {}
    force: Annotated[bool, Meta(description="Also while the job has not ended: then both may run at once.")] = False


class RerunApi:
    """The operation that runs a job again."""

    def __init__(self, reader: JobReader, submits: SubmitApi) -> None:
        self._reader = reader
        self._submits = submits

    async def rerun(self, call: Call[JobPath, SubmitQuery, RerunBody]) -> Reply[JobSubmitted]:
        """Store a new job of the same spec, with the changes."""
        key = idempotency.read_key(call.headers)
        job_id = call.path.id
        job, encoded = await self._reader.get_job(job_id), await self._reader.get_spec(job_id)
        if job is None or encoded is None:
            raise NotFound(f"there is no job {job_id}")
        if not job.terminal and not call.body.force:
            raise RequestProblem(JOB_NOT_ENDED, _still(job))
        tree, wrong = changes.apply(msgspec.json.decode(encoded), call.body.set)
        if wrong:
            raise Invalid([Fault(changes.pointer("set", fault.path), fault.detail) for fault in wrong])
        decoded = self._submits.decoder.item(tree, strict=True)
        if decoded.value is None:
            raise Invalid([_of_spec(fault) for fault in decoded.faults])
        return await self._submits.store(
            decoded.value,
            owner=call.principal,
            warnings=call.warnings,
            key=None if key is None else idempotency.rerun_key(key),
            request_hash=hashlib.sha256(_canonical([str(job_id), call.body])).digest(),
            rerun_of=job,
            parent=traceheader.read(call.headers),
        )


def _still(job: Job) -> str:
    return f"the job is {job.state}: cancel it first, or give force=true to have both"


def _of_spec(fault: Fault) -> Fault:
    detail = fault.detail.removesuffix(" (strict=true)")
    return Fault(fault.pointer, detail, "spec")
