"""Problems: every error answer is an RFC 9457 document with a stable code. Each kind is defined in one place."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import msgspec
from msgspec import Meta

from kube_job_runner.web.validation.fault import FAULTS_MAX, Fault, Invalid, Malformed, summary


class ProblemType(msgspec.Struct, frozen=True, kw_only=True):
    """A kind of problem, with the texts of its page under `/problems/<code>`."""

    code: str
    status: int
    title: str
    meaning: str
    remedy: str
    retryable: bool = False


class ProblemDetails(msgspec.Struct, frozen=True, kw_only=True):
    """An error answer (RFC 9457)."""

    type: Annotated[str, Meta(description="The path of the page about this kind of problem.")]
    title: Annotated[str, Meta(description="What kind of problem it is.")]
    status: Annotated[int, Meta(description="The HTTP status.")]
    detail: Annotated[str, Meta(description="What went wrong with this request.")]
    instance: Annotated[str, Meta(description="The path of this request.")]
    code: Annotated[str, Meta(description="The kind of problem, for programs; it never changes.")]
    request_id: Annotated[str, Meta(description="The id of this request, also in the server's log.")]
    retryable: Annotated[bool, Meta(description="Whether the same request may succeed later, unchanged.")]
    errors: Annotated[Sequence[Fault], Meta(description="The faults of the request, at most 100.")] = ()


class RequestProblem(Exception):
    """An error of a request. Raised anywhere below a handler, it becomes the answer."""

    def __init__(
        self,
        type_: ProblemType,
        detail: str = "",
        *,
        faults: Sequence[Fault] = (),
        headers: Sequence[tuple[bytes, bytes]] = (),
    ) -> None:
        super().__init__(detail or type_.title)
        self.type = type_
        self.detail = detail or type_.meaning
        self.faults = faults
        self.headers = headers


_encoder = msgspec.json.Encoder()


def details(problem: RequestProblem, *, instance: str, request_id: str) -> ProblemDetails:
    """Return the document of a problem, with at most `FAULTS_MAX` of its faults."""
    kind = problem.type
    faults = list(problem.faults[:FAULTS_MAX])
    left_out = len(problem.faults) - len(faults)
    return ProblemDetails(
        type=f"/problems/{kind.code}",
        title=kind.title,
        status=kind.status,
        detail=problem.detail + (f" ({left_out} more faults are not shown)" if left_out else ""),
        instance=instance,
        code=kind.code,
        request_id=request_id,
        retryable=kind.retryable,
        errors=faults,
    )


def encode(document: ProblemDetails) -> bytes:
    """Return the JSON of a problem."""
    return _encoder.encode(document)


MALFORMED_JSON = ProblemType(
    code="malformed-json",
    status=400,
    title="The body is not valid JSON",
    meaning="The body is not one JSON document in UTF-8 (RFC 8259), or it is ambiguous: a key twice in one object, a lone"
    " surrogate, NaN or Infinity, or more than 32 levels.",
    remedy="Send one JSON document in UTF-8. `errors` points to the place, if there is one.",
)
MALFORMED_QUERY = ProblemType(
    code="malformed-query",
    status=400,
    title="The query string cannot be read",
    meaning="The query string is not `name=value` pairs in percent-encoded UTF-8.",
    remedy="Percent-encode names and values.",
)
MALFORMED_HEADER = ProblemType(
    code="malformed-header",
    status=400,
    title="A request header cannot be read",
    meaning="A header of the request does not have the form that the operation needs.",
    remedy="`errors` names the header and its form.",
)
UNAUTHENTICATED = ProblemType(
    code="unauthenticated",
    status=401,
    title="A valid token is needed",
    meaning="The request has no bearer token, or the token is unknown, expired or revoked.",
    remedy="Send `Authorization: Bearer kjr_...`. `kjr up` prints a token, and `kjr token create` creates one.",
)
NOT_FOUND = ProblemType(
    code="not-found",
    status=404,
    title="Not found",
    meaning="The path, or what it names, does not exist. A malformed job id is answered in the same way.",
    remedy="Check the path and the id. `GET /v1/jobs` lists the jobs.",
)
METHOD_NOT_ALLOWED = ProblemType(
    code="method-not-allowed",
    status=405,
    title="Method not allowed",
    meaning="The path exists, but not with this method.",
    remedy="Use a method of the `Allow` header.",
)
NOT_ACCEPTABLE = ProblemType(
    code="not-acceptable",
    status=406,
    title="Not acceptable",
    meaning="The `Accept` header does not allow the only media type of this answer.",
    remedy="Remove the header, or add the media type that the detail names.",
)
BODY_TIMEOUT = ProblemType(
    code="body-timeout",
    status=408,
    title="The body did not arrive in time",
    meaning="The request body was not complete within the server's limit.",
    remedy="Retry over a faster connection, or send less at once.",
    retryable=True,
)
BODY_TOO_LARGE = ProblemType(
    code="body-too-large",
    status=413,
    title="The body is too large",
    meaning="The request body is larger than the server accepts.",
    remedy="Split the batch, or put large input into a volume or an object store.",
)
UNSUPPORTED_MEDIA_TYPE = ProblemType(
    code="unsupported-media-type",
    status=415,
    title="Unsupported media type",
    meaning="The body is not `application/json` in UTF-8, or it is compressed.",
    remedy="Send `Content-Type: application/json` and no `Content-Encoding`.",
)
VALIDATION_FAILED = ProblemType(
    code="validation-failed",
    status=422,
    title="The request breaks one or more rules",
    meaning="The request can be read, but some of its fields break rules. All faults are reported at once.",
    remedy="Each entry of `errors` points to a field, and says what is wrong and what the limit is.",
)
INTERNAL_ERROR = ProblemType(
    code="internal-error",
    status=500,
    title="Internal error",
    meaning="The server has a bug, or something failed that it does not expect. Its log has the details under the request id.",
    remedy="Retry. If it fails again, report it with the request id.",
    retryable=True,
)

KIT_PROBLEMS = (
    MALFORMED_JSON,
    MALFORMED_QUERY,
    MALFORMED_HEADER,
    UNAUTHENTICATED,
    NOT_FOUND,
    METHOD_NOT_ALLOWED,
    NOT_ACCEPTABLE,
    BODY_TIMEOUT,
    BODY_TOO_LARGE,
    UNSUPPORTED_MEDIA_TYPE,
    VALIDATION_FAILED,
    INTERNAL_ERROR,
)


def of_document(error: Exception) -> RequestProblem | None:
    """Return the problem of a body that is not JSON or breaks rules; None for any other error."""
    if isinstance(error, Malformed):
        return RequestProblem(MALFORMED_JSON, str(error), faults=error.faults)
    return of_faults(error.faults) if isinstance(error, Invalid) else None


def of_faults(faults: Sequence[Fault]) -> RequestProblem:
    """Return the problem of a body that breaks rules."""
    return RequestProblem(VALIDATION_FAILED, summary(faults), faults=faults)
