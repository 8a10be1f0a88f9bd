"""Headers of submits: `Idempotency-Key` and `traceparent`."""

from __future__ import annotations

import re
from collections.abc import Mapping

from kube_job_runner.domain.record import trace
from kube_job_runner.web.kit.operations import Header
from kube_job_runner.web.kit.problems import MALFORMED_HEADER, RequestProblem
from kube_job_runner.web.validation.fault import Fault

KEY_MAX_LENGTH = 255
_PRINTABLE = re.compile(rb"[\x20-\x7e]{1,255}")
_QUOTED = re.compile(rb'"((?:[\x20-\x21\x23-\x5b\x5d-\x7e]|\\["\\])*)"')

IDEMPOTENCY_KEY = Header(
    name="Idempotency-Key",
    description="1 to 255 printable ASCII characters, bare or as a quoted string (RFC 9651). A request with the same key and the"
    " same body gets the first answer again, with `Idempotency-Replayed: true`. With another body it is refused. Keys are"
    " kept for 7 days, unless configured otherwise.",
    schema={"type": "string", "minLength": 1, "maxLength": KEY_MAX_LENGTH, "pattern": r"^[!#-~]([ -~]*[!-~])?$(?!\n)"},
)
IDEMPOTENCY_REPLAYED = Header(
    name="Idempotency-Replayed",
    description="`true` when this is the answer of an earlier request with the same key.",
    schema={"type": "string", "enum": ["true"]},
)
REPLAYED = (b"idempotency-replayed", b"true")
TRACEPARENT = Header(
    name="traceparent",
    description="The trace of the caller (W3C Trace Context). The job belongs to this trace, and its container finds it in"
    " `TRACEPARENT`. For a batch it holds for every job. An invalid header is ignored.",
)


def idempotency_key(headers: Mapping[bytes, bytes]) -> str | None:
    """Return the idempotency key of a request, or None when it has none.

    The header is a structured-field string in quotes (draft-ietf-httpapi-idempotency-key-header); a bare value is accepted
    too, because most clients send one.

    Raises:
        RequestProblem: 400, the header is not in its grammar.
    """
    given = headers.get(b"idempotency-key")
    if given is None:
        return None
    text: bytes = given.strip()
    if text.startswith(b'"'):
        match = _QUOTED.fullmatch(text)
        text = re.sub(rb"\\(.)", rb"\1", match[1]) if match else b""
    if not _PRINTABLE.fullmatch(text):
        detail = f"must be 1 to {KEY_MAX_LENGTH} printable ASCII characters, bare or in double quotes"
        fault = Fault("/Idempotency-Key", detail, "header")
        raise RequestProblem(MALFORMED_HEADER, f"Idempotency-Key {detail}", faults=[fault])
    return text.decode("ascii")


def trace_parent(headers: Mapping[bytes, bytes]) -> trace.TraceContext | None:
    """Return the trace context of a request; None when it has none. W3C says to ignore an invalid one."""
    given = headers.get(b"traceparent")
    return None if given is None else trace.parse(given.decode("latin-1").strip(" \t"))
