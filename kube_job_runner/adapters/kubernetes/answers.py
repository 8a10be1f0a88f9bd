"""Answers of the API server: typed `Status` objects, and the product's error for each refusal.

The `api` rows of the failure table decide where only the text distinguishes the cases; elsewhere the status code decides.
An unknown answer is never fatal: the request is retried, and the job's own timeouts bound the retries.
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from kube_job_runner.domain import backoff, failures
from kube_job_runner.domain.errors import ClusterRefused, KjrError, QuotaBusy, TemporaryError
from kube_job_runner.domain.failures import Finding, refusals
from kube_job_runner.domain.failures.refusals import Refusal

RETRY_AFTER_MAX_SECONDS = 300.0
_TEXT_MAX = 1000


class _Details(msgspec.Struct, rename="camel"):
    name: str | None = None
    kind: str | None = None
    retry_after_seconds: float | None = None


class Refused(Exception):
    """The server did not open a stream; `answer` says why. Never leaves this package."""

    def __init__(self, answer: Answer) -> None:
        super().__init__(answer.status)
        self.answer = answer


class Status(msgspec.Struct, rename="camel"):
    """A `Status` of the API (meta/v1): the body of every answer of the API server that is not the object itself."""

    kind: str | None = None
    message: str | None = None
    reason: str | None = None
    code: int | None = None
    details: _Details | None = None


class Answer(msgspec.Struct):
    """An answer from the API server, or from something in front of it."""

    status: int
    body: bytes
    retry_after_seconds: float = 0.0

    @property
    def ok(self) -> bool:
        return 200 <= self.status < 300

    @property
    def missing(self) -> bool:
        """Whether the API server itself says that there is no such object. A proxy's 404 proves nothing."""
        return self.status == 404 and parse_status(self.body).reason == "NotFound"


_status_decoder = msgspec.json.Decoder(Status)


def parse_status(body: bytes) -> Status:
    """Return the Status of a body. For any other body, the message holds its beginning."""
    try:
        status = _status_decoder.decode(body)
    except (msgspec.MsgspecError, ValueError):
        return Status(message=body[:_TEXT_MAX].decode("utf-8", "replace").replace("\0", "").strip())
    return status if status.kind == "Status" else Status(message="")


def retry_after(headers: Mapping[str, str]) -> float:
    """Return the seconds of a Retry-After header (RFC 9110, section 10.2.3), 0 when absent or a date."""
    text = headers.get("Retry-After", "")
    return min(float(text), RETRY_AFTER_MAX_SECONDS) if text.isascii() and text.isdigit() else 0.0


def temporary(message: str, *, delay_seconds: float, at_least: float = 0.0, reason: str = "") -> TemporaryError:
    """Return a TemporaryError. Its delay is the larger of the two, or up to a quarter longer, so that callers spread."""
    delay = max(delay_seconds, min(at_least, RETRY_AFTER_MAX_SECONDS))
    return TemporaryError(message, delay_seconds=backoff.spread(delay, backoff.NOT_EARLIER), reason=reason)


def refusal(answer: Answer, *, action: str) -> KjrError:
    """Return the error for an answer that is not ok. `action` names the request in words.

    A `ClusterRefused` is permanent; a `TemporaryError` says when to retry. The reason is that of a row of `refusals`.
    """
    status = parse_status(answer.body)
    text = (status.message or f"HTTP {answer.status}")[:_TEXT_MAX]
    message = f"{action}: {text}"
    meaning = _meaning(answer.status, status, text)
    if meaning.permanent:
        return ClusterRefused(message, reason=meaning.reason, status=answer.status)
    advised = (status.details and status.details.retry_after_seconds) or 0.0
    at_least = max(answer.retry_after_seconds, advised)
    error = temporary(message, delay_seconds=meaning.retry_seconds, at_least=at_least, reason=meaning.reason)
    if meaning is refusals.QUOTA_BUSY:
        return QuotaBusy(message, delay_seconds=error.delay_seconds, reason=error.reason)
    return error


def as_temporary(error: KjrError) -> KjrError:
    """Return the error for a request that is always retried: even a permanent refusal may be lifted later."""
    if isinstance(error, ClusterRefused):
        return temporary(str(error), delay_seconds=30.0, reason=error.reason)
    return error


_PERMANENT: Mapping[int, Refusal] = {
    400: refusals.SPEC_REJECTED,
    413: refusals.SPEC_REJECTED,
    422: refusals.SPEC_REJECTED,
}
_TEMPORARY: Mapping[int, Refusal] = {
    401: refusals.UNAUTHORIZED,
    403: refusals.CLUSTER_UNAVAILABLE,
    409: refusals.CONFLICT,
    429: refusals.CLUSTER_BUSY,
}


def _meaning(code: int, status: Status, text: str) -> Refusal:
    """Return what an answer means: by its text where a row of the failure table says so, else by its status code."""
    found = failures.classify("api", status.reason or "", text)
    by_text = found.rule.refusal if found is not None else None
    # Only the API server itself refuses permanently: a proxy in front of it may recover.
    final = status.kind == "Status"
    if by_text is not None and by_text.holds_for(code) and (final or not by_text.permanent):
        return by_text
    permanent = _refused_for_good(code, status, found) if final else None
    if permanent is not None:
        return permanent
    return refusals.CLUSTER_UNAVAILABLE if code >= 500 else _TEMPORARY.get(code, refusals.UNEXPECTED_ANSWER)


def _refused_for_good(code: int, status: Status, found: Finding | None) -> Refusal | None:
    if code == 403:
        # Admission plugins answer 403, also for a temporary fault of their own.
        passes = found is not None and found.verdict in ("wait", "retry_free")
        return None if passes else refusals.ADMISSION_DENIED
    if code == 404:
        missing = status.details.kind if status.details is not None and status.reason == "NotFound" else None
        return refusals.NAMESPACE_NOT_FOUND if missing == "namespaces" else None
    return _PERMANENT.get(code)
