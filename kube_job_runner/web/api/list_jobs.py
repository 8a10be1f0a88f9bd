"""`GET /v1/jobs`: list jobs, newest first."""

from datetime import datetime
from typing import Annotated
from urllib.parse import urlencode
from uuid import UUID

import msgspec
from msgspec import Meta

from kube_job_runner.domain import label_selector
from kube_job_runner.domain.states import State
from kube_job_runner.ports import JobReader
from kube_job_runner.services import listing
from kube_job_runner.web.api.job_view import JobView, job_view
from kube_job_runner.web.api.problem_types import DOWN
from kube_job_runner.web.kit.handling import Call, Nothing, Reply
from kube_job_runner.web.kit.operations import Header, Operation
from kube_job_runner.web.kit.queries import NO_NUL

REASON_PATTERN = r"^[A-Za-z][A-Za-z0-9_-]*$(?!\n)"


class ListQuery(msgspec.Struct, frozen=True):
    """Which jobs to list."""

    state: Annotated[
        tuple[State, ...],
        Meta(description="Jobs in these states. Repeat the parameter, or separate the states by commas."),
    ] = ()
    queue: Annotated[str, Meta(max_length=63, extra_json_schema=NO_NUL, description="Jobs of this queue.")] | None = (
        None
    )
    namespace: (
        Annotated[str, Meta(max_length=63, extra_json_schema=NO_NUL, description="Jobs of this Kubernetes namespace.")]
        | None
    ) = None
    name: Annotated[str, Meta(max_length=63, extra_json_schema=NO_NUL, description="Jobs of this name.")] | None = None
    reason: (
        Annotated[
            str,
            Meta(
                min_length=1,
                max_length=63,
                pattern=REASON_PATTERN,
                description="Jobs that failed for this reason: `OutOfMemory`, or its category `out_of_memory`. With `state`,"
                " jobs in those states that have the reason.",
            ),
        ]
        | None
    ) = None
    rerun_of: Annotated[UUID, Meta(description="Reruns of this job.")] | None = None
    labels: (
        Annotated[
            str,
            Meta(
                max_length=label_selector.MAX_LENGTH,
                description="Jobs that match a label selector of Kubernetes, such as `team=a,tier in (web,db),!canary`.",
                extra_json_schema={"pattern": label_selector.PATTERN},
            ),
        ]
        | None
    ) = None
    created_after: (
        Annotated[datetime, Meta(tz=True, description="Jobs submitted after this time (RFC 3339).")] | None
    ) = None
    created_before: (
        Annotated[datetime, Meta(tz=True, description="Jobs submitted before this time (RFC 3339).")] | None
    ) = None
    limit: Annotated[int, Meta(ge=1, le=500, description="Jobs per page.")] = 50
    cursor: (
        Annotated[str, Meta(pattern=listing.CURSOR_PATTERN, description="`next_cursor` of the page before, unchanged.")]
        | None
    ) = None


class JobPage(msgspec.Struct, frozen=True, kw_only=True):
    """A page of jobs, newest first; `next_cursor` is null on the last one."""

    jobs: Annotated[list[JobView], Meta(description="The jobs of this page.")]
    next_cursor: Annotated[
        str | None, Meta(description="Send it as `cursor` to get the next page; null on the last page.")
    ]


def operation(reader: JobReader) -> Operation:
    async def list_jobs(call: Call[Nothing, ListQuery, Nothing]) -> Reply[JobPage]:
        query = call.query
        wanted = listing.job_filter(
            states=query.state,
            queue=query.queue,
            namespace=query.namespace,
            name=query.name,
            reason=query.reason,
            rerun_of=query.rerun_of,
            labels=query.labels or "",
            created_after=query.created_after,
            created_before=query.created_before,
            cursor=query.cursor,
            limit=query.limit,
        )
        page = await listing.page(reader, wanted)
        headers = ((b"link", _next_link(query, page.next_cursor)),) if page.next_cursor else ()
        return Reply(JobPage(jobs=[job_view(job) for job in page.jobs], next_cursor=page.next_cursor), headers=headers)

    return Operation(
        "GET",
        "/v1/jobs",
        "listJobs",
        "List jobs, newest first",
        list_jobs,
        description="A page continues where the page before ended. So no job is missed or repeated while new jobs come in. There"
        " is no total.",
        response_headers=(
            Header(name="Link", description='The next page, with `rel="next"`, when there is one (RFC 8288).'),
        ),
        problems=DOWN,
    )


def _next_link(query: ListQuery, cursor: str) -> bytes:
    parameters = []
    for name, value in msgspec.structs.asdict(query).items():
        if value is None or value == () or name == "cursor":
            continue
        if isinstance(value, datetime):
            parameters.append((name, value.isoformat()))
        else:
            parameters.append((name, ",".join(value) if isinstance(value, tuple) else str(value)))
    target = "/v1/jobs?" + urlencode([*parameters, ("cursor", cursor)])
    return f'<{target}>; rel="next"'.encode("ascii")
