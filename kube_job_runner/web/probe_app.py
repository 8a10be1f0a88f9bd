"""The application of a process without the API: the same health and metrics endpoints, on a port of their own."""

from __future__ import annotations

import asyncio

from kube_job_runner.services.readiness import Readiness
from kube_job_runner.web import auth
from kube_job_runner.web.api import problem_types, process_health
from kube_job_runner.web.kit.asgi import App, Limits

_HEADERS = ((b"x-content-type-options", b"nosniff"), (b"connection", b"close"))


def build_probe_app(readiness: Readiness, *, stop: asyncio.Event) -> App:
    """Return the ASGI application. It is not ready any more as soon as `stop` is set."""
    return App(
        process_health.operations(readiness),
        limits=Limits(body_max_bytes=0, body_timeout_seconds=0.0),
        authenticate=auth.anonymous,
        explain=problem_types.explain,
        observe=lambda _operation, _status, _seconds: None,
        headers=_HEADERS,
        draining=stop,
    )
