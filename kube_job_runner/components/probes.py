"""Probes: health and metrics of a process without web-server, on a port of their own."""

from __future__ import annotations

import asyncio

from kube_job_runner.services.readiness import Readiness
from kube_job_runner.telemetry import loggers
from kube_job_runner.web import server
from kube_job_runner.web.probe_app import build_probe_app

log = loggers.get_logger(__name__)


async def run(readiness: Readiness, *, host: str, port: int, stop: asyncio.Event) -> None:
    """Answer probes until cancelled; /readyz answers 503 as soon as `stop` is set, while the components still drain.

    Raises:
        ConfigurationError: the server cannot listen on the address.
    """
    app = build_probe_app(readiness, stop=stop)
    async with server.serve(
        app, host=host, port=port, protocol=server.ProbeProtocol, setting="KJR_METRICS_PORT"
    ) as serving:
        log.info("probes are served", action="probes.listen", port=serving.port)
        await serving.task
