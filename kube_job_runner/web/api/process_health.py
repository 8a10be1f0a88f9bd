"""`/livez`, `/healthz`, `/readyz`, `/metrics`: health and metrics of a process, with or without the API; and `/v1/version`."""

from typing import Annotated, Any

import msgspec
from msgspec import Meta

import kube_job_runner
from kube_job_runner.services.readiness import Readiness
from kube_job_runner.telemetry import metrics
from kube_job_runner.web.api.problem_types import DOWN
from kube_job_runner.web.kit.handling import TEXT, Call, Nothing, Reply
from kube_job_runner.web.kit.operations import Handler, Operation

MINIMUM_CLIENT = "0.1.0"
METRICS = b"text/plain; version=0.0.4; charset=utf-8"


class ReadyQuery(msgspec.Struct, frozen=True):
    """How much detail the answer has."""

    verbose: Annotated[bool, Meta(description="Answer with one line for each check.")] = False


def operations(readiness: Readiness) -> list[Operation]:

    async def live(_call: Call[Nothing, Nothing, Nothing]) -> Reply[Nothing]:
        """Answer as long as the event loop runs; never ask the database."""
        return Reply(content=b"ok\n", media_type=TEXT)

    async def ready(call: Call[Nothing, ReadyQuery, Nothing]) -> Reply[Nothing]:
        """Return whether the process can serve: the database answers, and the process is not stopping."""
        readiness.stopping = call.draining.is_set()
        good, lines = await readiness.report()
        if good and not call.query.verbose:
            return Reply(content=b"ok\n", media_type=TEXT)
        return Reply(content=lines.encode("utf-8", "replace"), media_type=TEXT, status=200 if good else 503)

    async def exposition(_call: Call[Nothing, Nothing, Nothing]) -> Reply[Nothing]:
        """Return the metrics of this process."""
        await readiness.checks()
        return Reply(content=metrics.exposition(), media_type=METRICS)

    def public(path: str, operation_id: str, summary: str, handler: Handler, **more: Any) -> Operation:
        return Operation("GET", path, operation_id, summary, handler, tag="system", public=True, **more)

    text = TEXT.decode()
    why = {503: "Not ready. The lines say why."}
    return [
        public("/livez", "getLive", "Whether the process is alive", live, media_type=text, gate="probe"),
        public("/healthz", "getHealth", "The same as /livez", live, media_type=text, gate="probe"),
        public(
            "/readyz",
            "getReady",
            "Whether the process is ready for requests",
            ready,
            media_type=text,
            more_statuses=why,
            gate="probe",
        ),
        public("/metrics", "getMetrics", "Metrics for Prometheus", exposition, media_type="text/plain; version=0.0.4"),
    ]


class VersionView(msgspec.Struct, frozen=True, kw_only=True):
    """The version of the server."""

    version: Annotated[str, Meta(description="The version of the server.")]
    api_versions: Annotated[list[str], Meta(description="The versions of the API that it serves.")]
    minimum_client: Annotated[str, Meta(description="The oldest client that it works with.")]


def version() -> Operation:
    async def get_version(_call: Call[Nothing, Nothing, Nothing]) -> Reply[VersionView]:
        """Return the versions of the server and of the API."""
        view = VersionView(version=kube_job_runner.__version__, api_versions=["v1"], minimum_client=MINIMUM_CLIENT)
        return Reply(view)

    return Operation(
        "GET", "/v1/version", "getVersion", "Get the version of the server", get_version, tag="system", problems=DOWN
    )
