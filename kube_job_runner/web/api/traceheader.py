"""The `traceparent` header (W3C Trace Context): the trace of the caller, which a job goes on with."""

from __future__ import annotations

from collections.abc import Mapping

from kube_job_runner.domain.record import trace
from kube_job_runner.web.kit.operations import Header

HEADER = Header(
    name="traceparent",
    description="The trace of the caller (W3C Trace Context): the job belongs to it, and its container finds it in"
    " `TRACEPARENT`. One that is not valid is ignored. For a batch it is that of every job in it.",
)


def read(headers: Mapping[bytes, bytes]) -> trace.TraceContext | None:
    """Return the trace context of a request; None when it has none, or none that is valid, as W3C has it."""
    given = headers.get(b"traceparent")
    return None if given is None else trace.parse(given.decode("latin-1").strip(" \t"))
