"""`/livez`, `/healthz`, `/readyz` and `/metrics`: how a process stands, with the API or without it."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
from msgspec import Meta

from kube_job_runner.services.readiness import Readiness
from kube_job_runner.telemetry import metrics
from kube_job_runner.web.kit.handling import TEXT, Call, Nothing, Reply
from kube_job_runner.web.kit.operations import Operation

METRICS = b"text/plain; version=0.0.4; charset=utf-8"


class ReadyQuery(msgspec.Struct, frozen=True):
    """How much detail the answer has."""

    verbose: Annotated[bool, Meta(description="Answer with one line for each check.")] = False


def operations(readiness: Readiness) -> list[Operation]:
    """Return the endpoints."""

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

    def public(**declared: Any) -> Operation:
        return Operation(method="GET", tag="system", public=True, **declared)

    text = TEXT.decode()
    return [
        public(
            path="/livez",
            operation_id="getLive",
            summary="Whether the process is alive",
            handler=live,
            media_type=text,
        ),
        public(
            path="/healthz",
            operation_id="getHealth",
            summary="The same as /livez",
            handler=live,
            media_type=text,
        ),
        public(
            path="/readyz",
            operation_id="getReady",
            summary="Whether the process is ready for requests",
            handler=ready,
            media_type=text,
            more_statuses={503: "Not ready. The lines say why."},
        ),
        public(
            path="/metrics",
            operation_id="getMetrics",
            summary="Metrics for Prometheus",
            handler=exposition,
            media_type="text/plain; version=0.0.4",
        ),
    ]
