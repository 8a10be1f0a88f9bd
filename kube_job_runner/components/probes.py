"""Probes: health and metrics of a process without web-server, on a port of their own."""

import asyncio

from kube_job_runner.services.readiness import Readiness
from kube_job_runner.telemetry import loggers
from kube_job_runner.web import auth, server
from kube_job_runner.web.api import problem_types, process_health
from kube_job_runner.web.kit.asgi import App, Limits
from kube_job_runner.web.wire.connections import Caps, Deadlines
from kube_job_runner.web.wire.protocol import ProbeProtocol

log = loggers.get_logger(__name__)

_DEADLINES = Deadlines(head_seconds=5.0, write_seconds=5.0, life_seconds=5.0)
_CAPS = Caps(total=128, per_peer=96)
_HEADERS = ((b"x-content-type-options", b"nosniff"), (b"connection", b"close"))


async def run(readiness: Readiness, *, host: str, port: int, stop: asyncio.Event) -> None:
    """Answer probes until cancelled; /readyz answers 503 as soon as `stop` is set, while the components still drain.

    Raises:
        ConfigurationError: the server cannot listen on the address.
    """
    app = _app(readiness, stop=stop)
    async with server.serve(
        app,
        host=host,
        port=port,
        protocol=ProbeProtocol,
        deadlines=_DEADLINES,
        caps=_CAPS,
        setting="KJR_METRICS_PORT",
    ) as serving:
        log.info("probes are served", action="probes.listen", port=serving.port)
        await serving.task


def _app(readiness: Readiness, *, stop: asyncio.Event) -> App:
    """Return the ASGI application. It is not ready any more as soon as `stop` is set."""
    return App(
        process_health.operations(readiness),
        limits=Limits(body_max_bytes=0, body_timeout_seconds=0.0, bodies_max_bytes=0),
        authenticate=auth.anonymous,
        explain=problem_types.explain,
        observe=lambda _operation, _status, _seconds: None,
        headers=_HEADERS,
        draining=stop,
    )
