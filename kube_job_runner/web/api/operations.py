"""The table of all operations: what is served, and what the API document says."""

from __future__ import annotations

from typing import Any

import msgspec

import kube_job_runner
from kube_job_runner.web.api import idempotency, problems, specs, traceheader
from kube_job_runner.web.api.jobs import JobsApi
from kube_job_runner.web.api.submits import SubmitApi
from kube_job_runner.web.api.system import SystemApi
from kube_job_runner.web.kit import openapi
from kube_job_runner.web.kit.operations import Bound, Header, Operation
from kube_job_runner.web.kit.problems import INTERNAL_ERROR, NOT_FOUND

_DOWN = (problems.DATABASE_UNAVAILABLE, problems.UNAVAILABLE)
_LOCATION = Header(name="Location", description="The path of the job.")
_ETAG = Header(name="ETag", description="The version of the job, in quotes.")
_LINK = Header(name="Link", description='The next page, with `rel="next"`, when there is one (RFC 8288).')
_IF_NONE_MATCH = Header(name="If-None-Match", description="An ETag of the job: 304 while it has not changed.")
_CANCEL_MAX_BYTES = 64 * 1024
_ID = "0199d1f2-7c00-7a3b-8c4d-5e6f708192a3"
_SUBMITTED = {
    "id": _ID,
    "name": "hello",
    "state": "queued",
    "version": 1,
    "created_at": "2026-01-15T09:30:00Z",
    "queue": "default",
    "namespace": "default",
    "warnings": [],
}
_TAGS = {
    "jobs": "Submit, follow and cancel jobs.",
    "system": "About the server itself: version, health, metrics.",
}


def submit_operations(api: SubmitApi) -> list[Operation]:
    """Return the operations that store jobs."""
    return [
        Operation(
            method="POST",
            path="/v1/jobs",
            operation_id="submitJob",
            summary="Submit a job",
            description="The answer comes after the job is durable: an acknowledged job is never lost.",
            handler=api.submit,
            status=201,
            decoder=api.decoder,
            body_example=specs.EXAMPLE,
            answer_example=_SUBMITTED,
            request_headers=(idempotency.KEY_HEADER, traceheader.HEADER),
            response_headers=(_LOCATION, idempotency.REPLAYED_HEADER),
            problems=(problems.IDEMPOTENCY_KEY_REUSE, problems.OVERLOADED, *_DOWN),
        ),
        Operation(
            method="POST",
            path="/v1/jobs:batch",
            operation_id="submitJobs",
            summary="Submit up to 1,000 jobs at once",
            description="Each job is judged alone, and has an answer in `results`, in the order of `jobs`: 201 with the job,"
            " or the status and the problem that refused it. Pointers are those of the whole body (`/jobs/3/image`).",
            handler=api.submit_batch,
            body_example={"jobs": [specs.EXAMPLE, {"image": "docker.io/library/busybox:1.36"}]},
            answer_example={"results": [{"status": 201, "job": _SUBMITTED}], "warnings": []},
            request_headers=(idempotency.KEY_HEADER, traceheader.HEADER),
            response_headers=(idempotency.REPLAYED_HEADER,),
            problems=(problems.IDEMPOTENCY_KEY_REUSE, *_DOWN),
        ),
    ]


def job_operations(api: JobsApi) -> list[Operation]:
    """Return the operations on stored jobs."""
    return [
        Operation(
            method="GET",
            path="/v1/jobs",
            operation_id="listJobs",
            summary="List jobs, newest first",
            description="Pages are keyed by position, so they stay exact while jobs come in. There is no total.",
            handler=api.list,
            response_headers=(_LINK,),
            problems=_DOWN,
        ),
        Operation(
            method="GET",
            path="/v1/jobs/{id}",
            operation_id="getJob",
            summary="Get a job, at once or when it changes",
            description="With `wait` and `since` the answer comes as soon as the version is above `since`, or, with the present"
            " state, when the time is over: a long poll that works through any proxy.",
            handler=api.get,
            more_statuses={304: "Not changed since the version of If-None-Match."},
            request_headers=(_IF_NONE_MATCH,),
            response_headers=(_ETAG,),
            problems=_DOWN,
        ),
        Operation(
            method="POST",
            path="/v1/jobs/{id}:cancel",
            operation_id="cancelJob",
            summary="Ask for the end of a job",
            description="The job is `stopping` until nothing of it is left in the cluster, and then `cancelled`; `cancel.outlook`"
            " says what happens in its present phase. Asking again is answered in the same way and changes nothing; a job"
            " that has succeeded or failed is a 409.",
            handler=api.cancel,
            status=202,
            body_optional=True,
            body_example={"reason": "no longer needed", "grace_seconds": 10},
            body_max_bytes=_CANCEL_MAX_BYTES,
            problems=(problems.JOB_ENDED, *_DOWN),
        ),
        *_parts(api),
    ]


def _parts(api: JobsApi) -> list[Operation]:
    return [
        Operation(
            method="GET",
            path="/v1/jobs/{id}/attempts",
            operation_id="listAttempts",
            summary="List the attempts of a job",
            handler=api.attempts,
            problems=_DOWN,
        ),
        Operation(
            method="GET",
            path="/v1/jobs/{id}/transitions",
            operation_id="listTransitions",
            summary="List the changes of a job's state",
            handler=api.transitions,
            problems=_DOWN,
        ),
        Operation(
            method="GET",
            path="/v1/jobs/{id}/spec",
            operation_id="getJobSpec",
            summary="Get the spec of a job",
            handler=api.spec,
            answer_example=specs.EXAMPLE,
            problems=_DOWN,
        ),
        Operation(
            method="GET",
            path="/v1/jobs/{id}/logs",
            operation_id="getJobLogs",
            summary="Read or follow the log of an attempt",
            description="The raw output of a container: what is stored and, of an attempt that runs, what comes. It can be read"
            " as long as the job is kept. With `follow=true` the answer begins at once, waits for the start, and ends with the"
            " attempt; it ends empty when the attempt never starts. A connection that breaks before its end is a lost"
            " link, not the end of the job. Where something is missing (a log above its limit, a lost connection to the"
            " node) a line `[kube-job-runner: ...]` says so.",
            handler=api.logs,
            media_type="text/plain; charset=utf-8",
            answer_example="hello\n",
            problems=(problems.LOG_NOT_READY, problems.LOG_UNAVAILABLE, *_DOWN),
        ),
    ]


def system_operations(api: SystemApi) -> list[Operation]:
    """Return the operations about the server itself."""
    text = "text/plain; charset=utf-8"
    page = "text/html; charset=utf-8"

    def public(path: str, operation_id: str, summary: str, handler: Any, **more: Any) -> Operation:
        return Operation(
            method="GET",
            path=path,
            operation_id=operation_id,
            summary=summary,
            handler=handler,
            tag="system",
            public=True,
            **more,
        )

    not_ready = {503: "Not ready; the lines say why."}
    return [
        Operation(
            method="GET",
            path="/v1/version",
            operation_id="getVersion",
            summary="Get the version of the server",
            handler=api.version,
            tag="system",
            problems=_DOWN,
        ),
        public("/livez", "getLive", "Whether the process is alive", api.live, media_type=text),
        public("/healthz", "getHealth", "The same as /livez", api.live, media_type=text),
        public(
            "/readyz", "getReady", "Whether to send requests here", api.ready, media_type=text, more_statuses=not_ready
        ),
        public("/metrics", "getMetrics", "Metrics for Prometheus", api.metrics, media_type="text/plain; version=0.0.4"),
        public("/openapi.json", "getOpenapi", "This document", api.openapi),
        public("/", "root", "To the page of the API", api.root, media_type="text/plain", status=307, hidden=True),
        public("/docs", "docs", "The page of the API", api.docs, media_type=page, hidden=True),
        public(
            "/static/docs.js", "script", "Script of the page", api.script, media_type="text/javascript", hidden=True
        ),
        public("/static/docs.css", "style", "Style of the pages", api.style, media_type="text/css", hidden=True),
        public(
            "/problems/{code}",
            "getProblem",
            "The page of a problem",
            api.problem,
            media_type=page,
            problems=(NOT_FOUND,),
            hidden=True,
        ),
    ]


def document(bounds: list[Bound]) -> dict[str, Any]:
    """Return the API document of the operations."""
    info = {
        "title": "kube-job-runner",
        "version": kube_job_runner.__version__,
        "description": "Run any container to completion on Kubernetes, and always know the truth about it.",
        "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
    }
    return openapi.build(bounds, info=info, tags=_TAGS, more_problems=(INTERNAL_ERROR,))


def encode_document(bounds: list[Bound]) -> bytes:
    """Return the JSON of the API document, as it is served; the committed one is the same, indented."""
    return msgspec.json.encode(document(bounds))
