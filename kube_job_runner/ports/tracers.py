"""Tracers: they take the spans of components. Where tracing is off there is none."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from kube_job_runner.domain.record.trace import Span, TraceContext


class Tracer(Protocol):
    """Takes the spans of one component. It never raises and never waits: jobs go first."""

    def begin(self, parent: TraceContext | None) -> TraceContext:
        """Return the context of a new span, in the trace of its parent or in a new one; the sampler decides about sending it."""
        ...

    def record(self, spans: Sequence[Span]) -> None:
        """Send finished spans later; those that are not sampled are left out."""
        ...


class Tracing(Protocol):
    """The tracing of one process, shared by its components."""

    def tracer(self, component: str) -> Tracer:
        """Return the tracer of a component."""
        ...

    def close(self) -> None:
        """Send what waits, within a bound. Blocks."""
        ...
