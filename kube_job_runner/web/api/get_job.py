"""`GET /v1/jobs/{id}`: a job, at once or when it changes."""

from typing import Annotated
from uuid import UUID

import msgspec
from msgspec import Meta

from kube_job_runner.domain import durations
from kube_job_runner.domain.limits import AdmissionLimits
from kube_job_runner.domain.states import State
from kube_job_runner.ports import JobReader
from kube_job_runner.services.change_hub import ChangeHub
from kube_job_runner.web.api.job_view import JobPath, JobView, existing, job_view
from kube_job_runner.web.api.problem_types import DOWN
from kube_job_runner.web.kit.handling import Call, Nothing, Reply
from kube_job_runner.web.kit.operations import Header, Operation


class JobQuery(msgspec.Struct, frozen=True):
    """Whether to wait for a change."""

    wait: (
        Annotated[
            str,
            Meta(
                pattern=durations.PATTERN,
                description="How long to wait for a version above `since`: `30s`, `500ms`, `1m`; a bare number is seconds. The"
                " server waits 60 s at most, unless configured otherwise.",
            ),
        ]
        | None
    ) = None
    since: Annotated[int, Meta(ge=0, le=2**31 - 1, description="The version that the client knows; see `wait`.")] = 0


def operation(
    reader: JobReader, hub: ChangeHub[UUID], *, wait_max_seconds: float, admission: AdmissionLimits
) -> Operation:
    async def get_job(call: Call[JobPath, JobQuery, Nothing]) -> Reply[JobView]:
        """Return a job. With `wait`, first wait for a change."""
        job_id, since = call.path.id, call.query.since
        job = existing(await reader.get_job(job_id), job_id)
        wait_seconds = min(durations.parse(call.query.wait or "0"), wait_max_seconds)
        if wait_seconds > 0 and job.version <= since:
            await call.attend(hub.wait_newer(job_id, than=since, timeout_seconds=wait_seconds))
            job = existing(await reader.get_job(job_id), job_id)
        etag = b'"%d"' % job.version
        headers = ((b"etag", etag),)
        if _matches(call.headers.get(b"if-none-match"), etag):
            return Reply(status=304, headers=headers)
        standing = None
        if job.state is State.QUEUED and job.admitted_at is None:
            standing = await reader.queue_standing(job_id, admission)
        return Reply(job_view(job, standing=standing), headers=headers)

    return Operation(
        "GET",
        "/v1/jobs/{id}",
        "getJob",
        "Get a job, at once or when it changes",
        get_job,
        description="A long poll, with `wait` and `since`: the answer comes as soon as the version is above `since`, or with the"
        " current state after that time.",
        more_statuses={304: "The job still has the version of If-None-Match."},
        request_headers=(
            Header(
                name="If-None-Match",
                description="An ETag of the job; the answer is 304 while the job has this version.",
            ),
        ),
        response_headers=(Header(name="ETag", description="The version of the job, in quotes."),),
        problems=DOWN,
    )


def _matches(if_none_match: bytes | None, etag: bytes) -> bool:
    """Compare as RFC 9110, section 13.1.2 says: a list or `*`, weak comparison."""
    if if_none_match is None:
        return False
    tags = [tag.strip().removeprefix(b"W/") for tag in if_none_match.split(b",")]
    return b"*" in tags or etag in tags
