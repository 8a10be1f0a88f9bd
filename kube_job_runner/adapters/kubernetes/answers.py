"""What an answer of the API server means: typed `Status` objects, and the product's error for each refusal.

The answer's code where it decides by itself, the `api` rows of the failure table where only the text tells cases apart.
Nothing unknown is fatal: what no row knows is worth another try, and the job's own timeouts bound the tries.
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from kube_job_runner.domain import backoff, failures
from kube_job_runner.domain.errors import ClusterRefused, KjrError, TemporaryError

RETRY_AFTER_MAX_SECONDS = 300.0
_TEXT_MAX = 1000


class _Details(msgspec.Struct, rename="camel"):
    name: str | None = None
    kind: str | None = None
    retry_after_seconds: float | None = None


class Refused(Exception):
    """A stream was not opened; `answer` says why. Never leaves this package."""

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
    """An answer of whoever answered: the API server, or something in front of it."""

    status: int
    body: bytes
    retry_after_seconds: float = 0.0

    @property
    def ok(self) -> bool:
        """Whether the request was carried out."""
        return 200 <= self.status < 300

    @property
    def missing(self) -> bool:
        """Whether the API server itself says that there is no such object; a proxy's 404 proves nothing."""
        return self.status == 404 and parse_status(self.body).reason == "NotFound"


_status_decoder = msgspec.json.Decoder(Status)


def parse_status(body: bytes) -> Status:
    """Return the Status of a body, or one with the beginning of the body as its message when it is something else."""
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
    """Return a TemporaryError whose delay is at least both figures, and up to a quarter more, so that callers spread."""
    delay = max(delay_seconds, min(at_least, RETRY_AFTER_MAX_SECONDS))
    return TemporaryError(message, delay_seconds=backoff.spread(delay, backoff.NOT_EARLIER), reason=reason)


def refusal(answer: Answer, *, action: str) -> KjrError:
    """Return the error for an answer that is not ok; `action` names the request in words.

    A `ClusterRefused` has one of the reasons `AdmissionDenied`, `Forbidden`, `NamespaceNotFound`,
    `NamespaceTerminating`, `SpecRejected`; a `TemporaryError` one of `QuotaExceeded`, `Unauthorized`, `ClusterBusy`,
    `ClusterUnavailable`, or `UnexpectedAnswer`.
    """
    status = parse_status(answer.body)
    text = (status.message or f"HTTP {answer.status}")[:_TEXT_MAX]
    message = f"{action}: {text}"
    reason = _refused_reason(answer.status, status, text)
    if reason:
        return ClusterRefused(message, reason=reason, status=answer.status)
    delay, reason = _temporary_reason(answer.status, status, text)
    advised = status.details.retry_after_seconds if status.details else None
    return temporary(
        message, delay_seconds=delay, at_least=max(answer.retry_after_seconds, advised or 0.0), reason=reason
    )


def as_temporary(error: KjrError) -> KjrError:
    """Return the error for a caller whose request cannot be refused for good: a refusal may be lifted, so try again later."""
    if isinstance(error, ClusterRefused):
        return temporary(str(error), delay_seconds=30.0, reason=error.reason)
    return error


_BY_RULE = {
    "webhook-denied": "AdmissionDenied",  # whatever the code: it is the webhook's own choice
    "api-too-large": "SpecRejected",  # may come as 500, though no retry can help
}
_FORBIDDEN_BY_RULE = {"rbac": "Forbidden", "namespace-terminating": "NamespaceTerminating"}
_QUOTA_RULES = ("quota-full", "quota-zero", "quota-busy")


def _refused_reason(code: int, status: Status, text: str) -> str | None:
    """Return the stable reason of a refusal for good, or None when the answer is worth another try."""
    if status.kind != "Status":
        return None  # something in front of the API server answered, and that can change
    found = failures.classify("api", status.reason or "", text)
    rule = found.rule.name if found else ""
    if rule in _BY_RULE:
        return _BY_RULE[rule]
    if code == 403:
        # Admission plugins refuse with 403 as RBAC does; some of their texts mean "not now".
        passes = found is not None and (found.verdict in ("wait", "retry_free") or rule in _QUOTA_RULES)
        return None if passes else _FORBIDDEN_BY_RULE.get(rule, "AdmissionDenied")
    if code == 404 and status.reason == "NotFound" and (status.details and status.details.kind == "namespaces"):
        return "NamespaceNotFound"
    return "SpecRejected" if code in (400, 413, 422) else None


def _temporary_reason(code: int, status: Status, text: str) -> tuple[float, str]:
    found = failures.classify("api", status.reason or "", text)
    if found is not None and found.rule.name in _QUOTA_RULES and code in (403, 409, 500):
        return 10.0, "QuotaExceeded"
    if code == 401:
        return 10.0, "Unauthorized"
    if code == 429:
        return 1.0, "ClusterBusy"
    if code == 409:
        return 1.0, "Conflict"
    if code >= 500 or code == 403:
        return 2.0, "ClusterUnavailable"
    return 30.0, "UnexpectedAnswer"
