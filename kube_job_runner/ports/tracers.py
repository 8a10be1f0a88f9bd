"""Tracers: they take the spans of components. Where tracing is off there is none."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from kube_job_runner.domain.record.trace import Span, TraceContext


class Tracer(Protocol):
    """Takes the spans of one component. It never raises and never waits: a trace is worth less than a job."""

    def begin(self, parent: TraceContext | None) -> TraceContext:
        """Return the context of a new span, in the trace of its parent or in a new one; the sampler has its say."""
        ...

    def record(self, spans: Sequence[Span]) -> None:
        """Send spans that are over, some time later; what is not sampled is left out."""
        ...


class Tracing(Protocol):
    """The tracing of one process, shared by its components."""

    def tracer(self, component: str) -> Tracer:
        """Return the tracer of a component."""
        ...

    def close(self) -> None:
        """Send what waits, within a bound. Blocks."""
        ...
