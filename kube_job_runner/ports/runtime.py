"""Ports of a process: its clock, its leases, and the tracers of its components.

Tests inject clocks to own time. Of each component that watches or sweeps, one process has the lease and leads; the others stand
by. Where tracing is off there is no tracer.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Protocol

import msgspec

from kube_job_runner.domain.record.trace import Span, TraceContext


class Clock(Protocol):
    """A wall clock and a monotonic clock."""

    def now(self) -> datetime:
        """Return the time, aware, in UTC."""
        ...

    def monotonic(self) -> float:
        """Return seconds that never step back."""
        ...


class SyncedClock(Clock, Protocol):
    """A clock that follows the clock of another machine."""

    async def sync(self) -> None:
        """Ask for the time.

        Raises:
            TemporaryError: there is no answer; the clock continues from the last one.
        """
        ...


class Fence(msgspec.Struct, frozen=True, kw_only=True):
    """A leader's term. Its writes are refused after the lease has another epoch."""

    component: str
    epoch: int


class LeaseStore(Protocol):
    """Leases by component. Their times are the database's: the clocks of processes do not matter."""

    async def acquire(self, component: str, *, holder: str, lease_seconds: float) -> Fence | None:
        """Take the lease for `lease_seconds`; return None when another process holds it.

        Raises:
            DatabaseUnavailable: the database does not answer. The lease may be taken; it then expires.
        """
        ...

    async def renew(self, fence: Fence, *, lease_seconds: float) -> None:
        """Extend the lease to `lease_seconds` from now.

        Raises:
            LeaseLost: another process has taken it.
            DatabaseUnavailable: the database does not answer.
        """
        ...

    async def release(self, fence: Fence) -> None:
        """Give the lease back, unless another process has taken it.

        Raises:
            DatabaseUnavailable: the database does not answer. The lease expires.
        """
        ...


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
        """Send the waiting spans, within a bounded time. Blocks."""
        ...
