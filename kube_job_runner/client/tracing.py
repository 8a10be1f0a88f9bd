"""Trace context of a submit: from the current OpenTelemetry span, else from the variable TRACEPARENT.

OpenTelemetry is not imported here. A program without it has no span.
"""

from __future__ import annotations

import os
import re
import sys
from typing import Any

_TRACEPARENT = re.compile(r"[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}(-[!-~]*)?")


def headers() -> dict[str, str]:
    """Return the header `traceparent` (W3C Trace Context), or no header."""
    found = _of_span() or os.environ.get("TRACEPARENT", "")
    return {"traceparent": found} if _TRACEPARENT.fullmatch(found) else {}


def _of_span() -> str:
    trace: Any = sys.modules.get("opentelemetry.trace")
    if trace is None:
        return ""
    context = trace.get_current_span().get_span_context()
    if not context.is_valid:
        return ""
    return f"00-{context.trace_id:032x}-{context.span_id:016x}-{context.trace_flags & 1:02x}"
