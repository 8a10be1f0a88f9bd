"""OpenTelemetry traces: sends finished spans to an OTLP receiver (extra `otel`), over HTTP, from a thread of its own.

This module is imported only if the standard `OTEL_*` variables ask for traces. The SDK reads those variables itself:
sampler, resource, endpoint, headers, batch sizes. Spans are handed over complete and with their ids. Most of them are made
from rows, long after they began, and their ids are derived from the job; the SDK's own tracer would choose other ids.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from datetime import datetime

from opentelemetry import trace
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.trace.id_generator import RandomIdGenerator
from opentelemetry.sdk.trace.sampling import Decision
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import Link, NonRecordingSpan, SpanContext, SpanKind, Status, StatusCode, TraceFlags

import kube_job_runner
from kube_job_runner.domain.record.trace import Span, TraceContext
from kube_job_runner.telemetry import loggers

log = loggers.get_logger(__name__)

CLOSE_SECONDS = 5.0
"""How long an ending process waits for its last spans to be sent."""

_SCOPE = InstrumentationScope("kube_job_runner", kube_job_runner.__version__)
_KINDS = {"server": SpanKind.SERVER, "internal": SpanKind.INTERNAL}
_UNNAMED = "unknown_service"


class Tracing:
    """The export of a process, shared by its components. Each component has a tracer with its own service name."""

    def __init__(self) -> None:
        self._provider = TracerProvider(shutdown_on_exit=False)
        self._processor = BatchSpanProcessor(OTLPSpanExporter())
        self._provider.add_span_processor(self._processor)

    def tracer(self, component: str) -> Tracer:
        """Return the tracer of a component, whose service is `kjr-<component>` unless the environment names it."""
        resource = self._provider.resource
        ours = {"service.version": kube_job_runner.__version__}
        if str(resource.attributes.get("service.name", _UNNAMED)).startswith(_UNNAMED):
            ours["service.name"] = f"kjr-{component}"
        return Tracer(self._provider, self._processor, resource.merge(Resource(ours)))

    def close(self) -> None:
        """Send the queued spans, for `CLOSE_SECONDS` at most: an unreachable receiver must not hold up the end of a process."""
        closing = threading.Thread(target=self._provider.shutdown, name="otel-close", daemon=True)
        closing.start()
        closing.join(CLOSE_SECONDS)


class Tracer:
    """`ports.Tracer` of one component."""

    def __init__(self, provider: TracerProvider, processor: BatchSpanProcessor, resource: Resource) -> None:
        self._sampler = provider.sampler
        self._processor = processor
        self._resource = resource
        self._ids = RandomIdGenerator()

    def begin(self, parent: TraceContext | None) -> TraceContext:
        """Return the context of a new span, in the trace of its parent or in a new trace."""
        span_id = trace.format_span_id(self._ids.generate_span_id())
        trace_id = self._ids.generate_trace_id() if parent is None else int(parent.trace_id, 16)
        return TraceContext(
            trace_id=trace.format_trace_id(trace_id), span_id=span_id, sampled=self._sampled(parent, trace_id)
        )

    def record(self, spans: Sequence[Span]) -> None:
        """Queue spans for the next export. If the queue is full, spans are dropped, and the SDK logs that."""
        try:
            for span in spans:
                self._processor.on_end(_readable(span, self._resource))
        except Exception as error:  # noqa: BLE001 - a trace must never harm the job that it is about
            log.warning("spans not recorded", action="trace.record", error=repr(error))

    def _sampled(self, parent: TraceContext | None, trace_id: int) -> bool:
        context = None
        if parent is not None:
            context = trace.set_span_in_context(NonRecordingSpan(_context(parent)))
        try:
            result = self._sampler.should_sample(context, trace_id, "submit", kind=SpanKind.SERVER)
        except Exception as error:  # noqa: BLE001 - as above; a sampler may be a plugin
            log.warning("the trace sampler failed", action="trace.sample", error=repr(error))
            return False
        return result.decision is Decision.RECORD_AND_SAMPLE


def _context(context: TraceContext) -> SpanContext:
    flags = TraceFlags(TraceFlags.SAMPLED if context.sampled else TraceFlags.DEFAULT)
    return SpanContext(int(context.trace_id, 16), int(context.span_id, 16), is_remote=True, trace_flags=flags)


def _readable(span: Span, resource: Resource) -> ReadableSpan:
    attributes: Mapping[str, str | int | bool] = span.attributes
    return ReadableSpan(
        span.name,
        context=_context(span.context),
        parent=None if span.parent is None else _context(span.parent),
        resource=resource,
        attributes=attributes,
        links=[Link(_context(link)) for link in span.links],
        kind=_KINDS[span.kind],
        status=Status(StatusCode.ERROR, span.error) if span.error else Status(),
        start_time=_nanoseconds(span.started_at),
        end_time=_nanoseconds(span.ended_at),
        instrumentation_scope=_SCOPE,
    )


def _nanoseconds(at: datetime) -> int:
    return int(at.timestamp() * 1_000_000) * 1000
