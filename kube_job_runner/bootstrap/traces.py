"""Tracing of a process, where the environment asks for it."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Collection

from kube_job_runner import ports
from kube_job_runner.bootstrap.builders import TracerOf
from kube_job_runner.bootstrap.components import Component
from kube_job_runner.settings import tracing_protocol, tracing_wanted
from kube_job_runner.telemetry import loggers

log = loggers.get_logger(__name__)


@contextlib.asynccontextmanager
async def tracing(components: Collection[Component]) -> AsyncIterator[TracerOf]:
    """Yield what gives each of these components its tracer: None where no traces are asked for, or they cannot be made.

    Without traces nothing of OpenTelemetry is imported. At the end, the recorded spans are sent.
    """
    pipeline = _trace_pipeline() if tracing_wanted() and any(component.traced for component in components) else None
    if pipeline is None:
        yield lambda _: None
        return
    try:
        yield pipeline.tracer
    finally:
        await asyncio.to_thread(pipeline.close)


def _trace_pipeline() -> ports.Tracing | None:
    if (protocol := tracing_protocol()) != "http/protobuf":
        hint = "set OTEL_EXPORTER_OTLP_PROTOCOL=http/protobuf, and the port of OTLP over HTTP (4318)"
        log.warning("no traces: this OTLP protocol is not supported", action="trace.off", protocol=protocol, hint=hint)
        return None
    try:
        from kube_job_runner.adapters.otel import Tracing

        return Tracing()
    except ImportError as error:
        hint = "pip install 'kube-job-runner[otel]'"
        log.warning("no traces: the extra is missing", action="trace.off", error=str(error), hint=hint)
    except Exception as error:  # noqa: BLE001 - a wrong OTEL_* value must not keep jobs from running
        log.warning("no traces: an OTEL_* variable is invalid", action="trace.off", error=str(error))
    return None
