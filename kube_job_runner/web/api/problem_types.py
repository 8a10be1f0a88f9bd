"""Problem types: the problems that only this API has, and the problem of each error of the product."""

from kube_job_runner.domain.errors import DatabaseUnavailable, NotFound, TemporaryError
from kube_job_runner.domain.spec.changes import pointer
from kube_job_runner.services.intake import KeyReused, Overloaded
from kube_job_runner.services.listing import WrongFilter
from kube_job_runner.services.log_reading import LogNotReady, LogUnavailable
from kube_job_runner.web.kit.problems import KIT_PROBLEMS, NOT_FOUND, ProblemType, RequestProblem, problem_type
from kube_job_runner.web.kit.queries import wrong_query
from kube_job_runner.web.validation.fault import Fault

IDEMPOTENCY_KEY_REUSE = problem_type(
    "422 idempotency-key-reuse: The idempotency key belongs to another request",
    "The `Idempotency-Key` was used before, with another body. Nothing was stored.",
    "Use a new key for a new request. Repeat a request with exactly the same body.",
)
JOB_ENDED = problem_type(
    "409 job-ended: The job has ended",
    "A job that has succeeded or failed cannot be cancelled. A terminal state never changes.",
    "Nothing needs to be done. `GET /v1/jobs/{id}` says how it ended.",
)
JOB_NOT_ENDED = problem_type(
    "409 job-not-ended: The job has not ended",
    "A job that waits or runs is not run again, so that the same work is not done twice at the same time.",
    "Wait for its end, or cancel it. To run both at the same time, set `force` to true.",
)
LOG_NOT_READY = problem_type(
    "409 log-not-ready: There is no log yet",
    "The attempt has not started, so there is no log to read.",
    "Retry later, or use `follow=true`, which waits for the start.",
    retryable=True,
)
LOG_UNAVAILABLE = problem_type(
    "404 log-unavailable: There is no log",
    "The attempt does not exist or never started, it has no such container, its log was lost with its pod or node, or"
    " retention removed the log.",
    "The detail says which of these it is. A stored log can be read as long as its job is kept.",
)
DATABASE_UNAVAILABLE = problem_type(
    "503 database-unavailable: The database does not answer",
    "The request could not be completed. A submit may or may not be stored.",
    "Retry after `Retry-After` seconds. With the same `Idempotency-Key` there will be one job.",
    retryable=True,
)
OVERLOADED = problem_type(
    "503 overloaded: Too many submits are waiting",
    "Too many submits are waiting for the database. This one was not stored.",
    "Retry after `Retry-After` seconds, and send fewer at once.",
    retryable=True,
)
UNAVAILABLE = problem_type(
    "503 unavailable: Temporarily unavailable",
    "Something that the request needs (the cluster, for example) does not answer.",
    "Retry after `Retry-After` seconds.",
    retryable=True,
)
DOWN = (DATABASE_UNAVAILABLE, UNAVAILABLE)
"""Problems of every operation that needs the database or the cluster."""

_KINDS = {kind for kind in list(globals().values()) if isinstance(kind, ProblemType)}
ALL_PROBLEMS = tuple(sorted(_KINDS.union(KIT_PROBLEMS), key=lambda kind: (kind.status, kind.code)))


def explain(error: Exception) -> RequestProblem | None:
    """Return the problem of an error of the product; None for a bug."""
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
