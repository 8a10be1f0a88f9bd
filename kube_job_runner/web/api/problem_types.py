"""The problems that only this API has, and how the product's own errors become problems."""

from __future__ import annotations

from kube_job_runner.domain.errors import DatabaseUnavailable, NotFound, TemporaryError
from kube_job_runner.domain.spec.changes import pointer
from kube_job_runner.services.intake import KeyReused
from kube_job_runner.services.listing import WrongFilter
from kube_job_runner.services.log_reading import LogNotReady, LogUnavailable
from kube_job_runner.services.submitter import Overloaded
from kube_job_runner.web.kit.problems import KIT_PROBLEMS, NOT_FOUND, ProblemType, RequestProblem
from kube_job_runner.web.kit.queries import wrong_query
from kube_job_runner.web.validation.fault import Fault

IDEMPOTENCY_KEY_REUSE = ProblemType(
    code="idempotency-key-reuse",
    status=422,
    title="The idempotency key belongs to another request",
    meaning="The `Idempotency-Key` was used before, with another body. Nothing was stored.",
    remedy="Use a new key for a new request, and send a repeated request with the very same body.",
)
JOB_ENDED = ProblemType(
    code="job-ended",
    status=409,
    title="The job has ended",
    meaning="A job that has succeeded or failed cannot be cancelled: a terminal state never changes.",
    remedy="Nothing needs to be done; `GET /v1/jobs/{id}` tells how it ended.",
)
JOB_NOT_ENDED = ProblemType(
    code="job-not-ended",
    status=409,
    title="The job has not ended",
    meaning="A job that still waits or runs is not run again, so that the same work is not done twice at once.",
    remedy="Wait for its end or cancel it. To have both at once, give `force`: true.",
)
LOG_NOT_READY = ProblemType(
    code="log-not-ready",
    status=409,
    title="There is no log yet",
    meaning="The attempt has not started, so there is no log to read.",
    remedy="Ask again later, or with `follow=true`, which waits for the start.",
    retryable=True,
)
LOG_UNAVAILABLE = ProblemType(
    code="log-unavailable",
    status=404,
    title="There is no log",
    meaning="The attempt never started or does not exist, it has no such container, its log was lost with its pod or node, or"
    " retention removed it.",
    remedy="The detail says which. What was stored of a log can be read as long as its job is kept.",
)
DATABASE_UNAVAILABLE = ProblemType(
    code="database-unavailable",
    status=503,
    title="The database does not answer",
    meaning="The request could not be completed. A submit was not acknowledged: it may or may not be stored.",
    remedy="Send it again after `Retry-After` seconds; with the same `Idempotency-Key` there will be one job.",
    retryable=True,
)
OVERLOADED = ProblemType(
    code="overloaded",
    status=503,
    title="Too many submits wait",
    meaning="More submits wait for the database than the server holds. This one was not stored.",
    remedy="Send it again after `Retry-After` seconds, and fewer at once.",
    retryable=True,
)
UNAVAILABLE = ProblemType(
    code="unavailable",
    status=503,
    title="Not available for now",
    meaning="Something that the request needs (the cluster, for example) does not answer.",
    remedy="Send it again after `Retry-After` seconds.",
    retryable=True,
)
DOWN = (DATABASE_UNAVAILABLE, UNAVAILABLE)
"""What any operation answers that needs the database or the cluster."""

API_PROBLEMS = (
    IDEMPOTENCY_KEY_REUSE,
    JOB_ENDED,
    JOB_NOT_ENDED,
    LOG_NOT_READY,
    LOG_UNAVAILABLE,
    DATABASE_UNAVAILABLE,
    OVERLOADED,
    UNAVAILABLE,
)
ALL_PROBLEMS = tuple(sorted((*KIT_PROBLEMS, *API_PROBLEMS), key=lambda kind: (kind.status, kind.code)))


def explain(error: Exception) -> RequestProblem | None:
    """Return the problem of an error of the product, or None for a bug."""
    if isinstance(error, NotFound):
        return RequestProblem(NOT_FOUND, str(error))
    if isinstance(error, KeyReused):
        return RequestProblem(IDEMPOTENCY_KEY_REUSE)
    if isinstance(error, WrongFilter):
        return wrong_query([Fault(pointer(fault.field), fault.detail, "query") for fault in error.faults])
    if isinstance(error, LogNotReady):
        return RequestProblem(LOG_NOT_READY, str(error))
    if isinstance(error, LogUnavailable):
        return RequestProblem(LOG_UNAVAILABLE, str(error))
    if isinstance(error, TemporaryError):
        kind = UNAVAILABLE
        if isinstance(error, Overloaded):
            kind = OVERLOADED
        elif isinstance(error, DatabaseUnavailable):
            kind = DATABASE_UNAVAILABLE
        delay_seconds = max(1, min(round(error.delay_seconds), 3600))
        return RequestProblem(kind, headers=((b"retry-after", b"%d" % delay_seconds),))
    return None


def reference_page() -> str:
    """Return the reference page of all problems, in Markdown."""
    lines = [
        "# Problems",
        "",
        "Every error answer is `application/problem+json` (RFC 9457) with `type`, `title`, `status`, `detail`, `instance`,",
        "`code`, `request_id`, `retryable` and `errors` (each with a JSON `pointer`, a `detail`, and `in` where it is not",
        "the body: `query`, `header`, or `spec` for the spec of a rerun). `code` is stable; the texts are for people.",
        "`retryable` tells whether the same request may succeed later, unchanged. The server serves each page below under",
        "its `type`.",
        "",
        "| code | status | retryable | title |",
        "|---|---|---|---|",
    ]
    lines += [
        f"| [`{kind.code}`](#{kind.code}) | {kind.status} | {'yes' if kind.retryable else 'no'} | {kind.title} |"
        for kind in ALL_PROBLEMS
    ]
    for kind in ALL_PROBLEMS:
        lines += ["", f"## {kind.code}", "", f"{kind.status}: {kind.title}.", "", kind.meaning, "", kind.remedy]
    return "\n".join(lines) + "\n"
