"""The trace of a job: W3C trace contexts, and the spans that are made from the rows of a job.

The spans of phases are made when the job has ended. Their ids are derived from the job, so every process makes the same spans,
however often it makes them, and a job that waits for days keeps no span open. Arguments, environment variables, labels and
output of programs are never part of a span.
"""

import hashlib
import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Literal
from uuid import UUID

import msgspec

from kube_job_runner.domain.job import Attempt, Job
from kube_job_runner.domain.record import timeline
from kube_job_runner.domain.states import State

VARIABLE = "TRACEPARENT"
"""The variable in which a container finds the context of its job (OpenTelemetry: environment variables as context carriers)."""

_TRACEPARENT = re.compile(
    r"(?P<version>[0-9a-f]{2})-(?P<trace>[0-9a-f]{32})-(?P<span>[0-9a-f]{16})-(?P<flags>[0-9a-f]{2})(?P<more>-.*)?"
)
_SAMPLED = 1

Value = str | int | bool
SpanKind = Literal["server", "internal"]


class TraceContext(msgspec.Struct, frozen=True, kw_only=True):
    """A reference to a span: ids in lower-case hexadecimal, and whether the trace is recorded."""

    trace_id: str
    span_id: str
    sampled: bool

    @property
    def header(self) -> str:
        """The value of a `traceparent` header (W3C Trace Context, version 00)."""
        return f"00-{self.trace_id}-{self.span_id}-{int(self.sampled):02x}"


class Span(msgspec.Struct, frozen=True, kw_only=True):
    """A finished span. `error` is the reason code of a failure, or empty."""

    name: str
    context: TraceContext
    parent: TraceContext | None = None
    started_at: datetime
    ended_at: datetime
    kind: SpanKind = "internal"
    attributes: Mapping[str, Value] = {}
    links: tuple[TraceContext, ...] = ()
    error: str = ""


def parse(text: str) -> TraceContext | None:
    """Return the context of a `traceparent`, or None when it is not valid; an invalid one counts as absent.

    From a later version, the four known fields are read (W3C Trace Context, section 3.2.4, versioning).
    """
    found = _TRACEPARENT.fullmatch(text)
    if found is None or found["version"] == "ff" or (found["version"] == "00" and found["more"] is not None):
        return None
    if not found["trace"].strip("0") or not found["span"].strip("0"):
        return None
    sampled = bool(int(found["flags"], 16) & _SAMPLED)
    return TraceContext(trace_id=found["trace"], span_id=found["span"], sampled=sampled)


def of(job: Job) -> TraceContext | None:
    """Return the context that a job was submitted with."""
    return None if job.traceparent is None else parse(job.traceparent)


def derived(context: TraceContext, job_id: UUID, name: str, *, attempt: int = 0) -> TraceContext:
    """Return the context of a job's span with that name. It is always and everywhere the same."""
    digest = hashlib.sha256(f"{job_id}/{attempt}/{name}".encode()).digest()[:8]
    span_id = digest.hex() if any(digest) else "0000000000000001"
    return TraceContext(trace_id=context.trace_id, span_id=span_id, sampled=context.sampled)


def of_container(job: Job, attempt: int) -> TraceContext | None:
    """Return the parent of the spans that an attempt's program makes itself: the phase `running`."""
    context = of(job)
    return None if context is None else derived(context, job.id, "running", attempt=attempt)


def of_submit(
    job: Job, context: TraceContext, *, parent: TraceContext | None, ended_at: datetime, rerun: TraceContext | None
) -> Span:
    """Return the span of the request that stored a job. A rerun links to the trace of the original job."""
    attributes = _about(job)
    if job.rerun_of is not None:
        attributes["kjr.job.rerun_of"] = str(job.rerun_of)
    return Span(
        name="submit",
        context=context,
        parent=parent,
        started_at=job.created_at,
        ended_at=max(job.created_at, ended_at),
        kind="server",
        attributes=attributes,
        links=() if rerun is None else (rerun,),
    )


def of_ended(job: Job, attempts: Mapping[int, Attempt]) -> list[Span]:
    """Return the spans of a job that has ended: `job`, and below it the phases of all attempts. Empty without a trace."""
    context = of(job)
    if context is None or not context.sampled or job.finished_at is None:
        return []
    whole = derived(context, job.id, "job")
    failed = job.state is State.FAILED
    attributes = _about(job) | {"kjr.job.state": job.state.value, "kjr.job.reason": job.reason}
    if job.exit_code is not None:
        attributes["process.exit.code"] = job.exit_code
    span = Span(
        name="job",
        context=whole,
        parent=context,
        started_at=job.created_at,
        ended_at=max(job.created_at, job.finished_at),
        attributes=attributes,
        error=(job.reason or "failed") if failed else "",
    )
    return [span, *_phases(job, attempts, whole)]


def of_log(
    traceparent: str | None,
    attempt: tuple[UUID, int],
    *,
    started_at: datetime,
    ended_at: datetime,
    namespace: str,
    pod_name: str,
    lost: bool,
) -> list[Span]:
    """Return the span for storing an attempt's log, a child of the span `job`. Empty without a trace."""
    context = None if traceparent is None else parse(traceparent)
    if context is None or not context.sampled:
        return []
    job_id, number = attempt
    attributes: dict[str, Value] = {"kjr.job.id": str(job_id), "kjr.attempt": number, "k8s.namespace.name": namespace}
    if pod_name:
        attributes["k8s.pod.name"] = pod_name
    span = Span(
        name="log.store",
        context=derived(context, job_id, "log.store", attempt=number),
        parent=derived(context, job_id, "job"),
        started_at=started_at,
        ended_at=max(started_at, ended_at),
        attributes=attributes,
        error="LogLost" if lost else "",
    )
    return [span]


def _about(job: Job) -> dict[str, Value]:
    about: dict[str, Value] = {"kjr.job.id": str(job.id), "kjr.job.name": job.name, "kjr.queue": job.queue}
    return about | {"k8s.namespace.name": job.namespace}


def _phases(job: Job, attempts: Mapping[int, Attempt], whole: TraceContext) -> Iterator[Span]:
    """Yield a span for each phase of the timeline. The last phase of a failed attempt carries the reason."""
    assert job.finished_at is not None
    phases: Sequence[timeline.Phase] = timeline.timeline(job, attempts, now=job.finished_at)
    last = {phase.attempt: phase.name for phase in phases}
    for phase in phases:
        attempt = attempts.get(phase.attempt)
        yield Span(
            name=phase.name,
            context=derived(whole, job.id, phase.name, attempt=phase.attempt),
            parent=whole,
            started_at=phase.started_at,
            ended_at=max(phase.started_at, phase.ended_at or job.finished_at),
            attributes={"kjr.job.id": str(job.id), "kjr.attempt": phase.attempt, **_place(attempt)},
            error=_failure(job, attempt) if last[phase.attempt] == phase.name else "",
        )


def _failure(job: Job, attempt: Attempt | None) -> str:
    if attempt is None:
        return job.reason if job.state is State.FAILED else ""
    verdict = attempt.verdict
    return verdict.reason if verdict is not None and verdict.outcome is State.FAILED else ""


def _place(attempt: Attempt | None) -> dict[str, Value]:
    """Return where an attempt ran, with OpenTelemetry's attribute names. Unknown values are left out."""
    if attempt is None:
        return {}
    found: dict[str, Value] = {
        "k8s.namespace.name": attempt.namespace,
        "k8s.job.name": attempt.cluster_name,
        "k8s.job.uid": attempt.cluster_uid or "",
        "k8s.pod.name": attempt.pod_name,
        "k8s.node.name": attempt.node,
    }
    return {name: value for name, value in found.items() if value != ""}
