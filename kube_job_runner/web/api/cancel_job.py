"""`POST /v1/jobs/{id}:cancel`: cancel a job."""

from typing import Annotated

import msgspec
from msgspec import Meta

from kube_job_runner.domain.job import Job
from kube_job_runner.domain.states import State
from kube_job_runner.ports import SubmitStore
from kube_job_runner.web.api.job_view import JobPath, JobView, existing, job_view
from kube_job_runner.web.api.problem_types import DOWN, JOB_ENDED
from kube_job_runner.web.kit.handling import Call, Reply
from kube_job_runner.web.kit.operations import Operation
from kube_job_runner.web.kit.problems import RequestProblem
from kube_job_runner.web.kit.queries import StrictQuery
from kube_job_runner.web.validation.fault import Fault

_BODY_MAX_BYTES = 64 * 1024


class CancelBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Why a job is cancelled, and how fast its container must end."""

    reason: Annotated[str, Meta(max_length=1024, description="Why; the explanation of the job repeats it.")] = ""
    grace_seconds: Annotated[
        Annotated[int, Meta(ge=0, le=3600)] | None,
        Meta(description="Time between SIGTERM and SIGKILL; 0 kills at once. Without it, that of the job's spec."),
    ] = None


def operation(store: SubmitStore) -> Operation:
    async def cancel(call: Call[JobPath, StrictQuery, CancelBody]) -> Reply[JobView]:
        """Record a cancel request. A second request changes nothing, except that it can shorten the grace period."""
        job_id, body = call.path.id, call.body
        found = await store.request_cancel(
            job_id, by=call.principal, reason=body.reason, grace_seconds=body.grace_seconds
        )
        job = existing(found, job_id)
        if job.state in (State.SUCCEEDED, State.FAILED):
            raise RequestProblem(JOB_ENDED, _ended(job))
        return Reply(job_view(job, warnings=[*call.warnings, *_asked_before(job, body)]))

    return Operation(
        "POST",
        "/v1/jobs/{id}:cancel",
        "cancelJob",
        "Cancel a job",
        cancel,
        description="The job is `stopping` until nothing of it is left in the cluster, and then `cancelled`. `cancel.outlook`"
        " says what happens in its present phase. A second cancel gets the same answer. It can shorten the grace period and"
        " changes nothing else. For a job that has succeeded or failed the answer is 409.",
        status=202,
        body_optional=True,
        body_example={"reason": "no longer needed", "grace_seconds": 10},
        body_max_bytes=_BODY_MAX_BYTES,
        problems=(JOB_ENDED, *DOWN),
    )


def _ended(job: Job) -> str:
    when = f" at {job.finished_at.isoformat()}" if job.finished_at else ""
    how = f", reason {job.reason}" if job.reason else ""
    asked = ""
    if job.cancel is not None:
        by = f" by {job.cancel.by}" if job.cancel.by else ""
        asked = f"; a cancel asked for{by} at {job.cancel.at.isoformat()} came too late"
    return f"the job has already {job.state}{when}{how}{asked}"


def _asked_before(job: Job, body: CancelBody) -> list[Fault]:
    """Return a warning when an earlier cancel with a shorter grace period stays in force."""
    if job.cancel is None or body.grace_seconds in (None, job.cancel.grace_seconds):
        return []
    by = f" by {job.cancel.by}" if job.cancel.by else ""
    detail = f"has no effect: an earlier cancel{by}, at {job.cancel.at.isoformat()}, has a shorter grace period"
    return [Fault("/grace_seconds", detail)]
