"""Traces, where the environment asks for them."""

from __future__ import annotations

import asyncio
import contextlib
import importlib
from collections.abc import AsyncIterator, Callable, Collection
from typing import Any

from kube_job_runner import ports
from kube_job_runner.settings import tracing_protocol, tracing_wanted
from kube_job_runner.telemetry import loggers

log = loggers.get_logger(__name__)

_TRACED = frozenset({"web-server", "messages-processor", "log-collector"})  # the others make no spans

TracerOf = Callable[[str], ports.Tracer | None]
"""Gives a component, by its name, what takes its spans."""


@contextlib.asynccontextmanager
async def tracing(components: Collection[str]) -> AsyncIterator[TracerOf]:
    """Yield what gives each component its tracer, or None where the environment does not ask for traces, or cannot have them.

    Without traces nothing of OpenTelemetry is imported. At the end what was recorded is sent.
    """
    pipeline = _trace_pipeline() if tracing_wanted() and not _TRACED.isdisjoint(components) else None
    if pipeline is None:
        yield lambda _: None
        return
    try:
        yield pipeline.tracer
    finally:
        await asyncio.to_thread(pipeline.close)


def _trace_pipeline() -> Any:
    if (protocol := tracing_protocol()) != "http/protobuf":
        hint = "set OTEL_EXPORTER_OTLP_PROTOCOL=http/protobuf, and the port of OTLP over HTTP (4318)"
        log.warning("no traces: this OTLP protocol is not supported", action="trace.off", protocol=protocol, hint=hint)
        return None
    try:
        otel = importlib.import_module("kube_job_runner.adapters.otel")
        return otel.Tracing()
    except ImportError as error:
        hint = "pip install 'kube-job-runner[otel]'"
        log.warning("no traces: the extra is missing", action="trace.off", error=str(error), hint=hint)
    except Exception as error:  # noqa: BLE001 - a wrong OTEL_* value must not keep jobs from running
        log.warning("no traces: an OTEL_* variable does not fit", action="trace.off", error=str(error))
    return None
