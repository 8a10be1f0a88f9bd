"""Problems: every error answer is an RFC 9457 document with a stable code. Each kind is defined in one place."""

from collections.abc import Sequence
from typing import Annotated

import msgspec
from msgspec import Meta

from kube_job_runner.web.validation.fault import FAULTS_MAX, Fault, Invalid, Malformed, TooComplex, summary


class ProblemType(msgspec.Struct, frozen=True, kw_only=True):
    """A kind of problem, with the texts of its page under `/problems/<code>`."""

    code: str
    status: int
    title: str
    meaning: str
    remedy: str
    retryable: bool = False


def problem_type(heading: str, meaning: str, remedy: str, *, retryable: bool = False) -> ProblemType:
    """Return the kind of problem with a heading like `404 not-found: Not found`: status, code and title."""
    status, code, title = heading.split(" ", 2)
    return ProblemType(
        code=code.removesuffix(":"),
        status=int(status),
        title=title,
        meaning=meaning,
        remedy=remedy,
        retryable=retryable,
    )


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


def details(problem: RequestProblem, *, instance: str, request_id: str, faults_max: int = FAULTS_MAX) -> ProblemDetails:
    """Return the document of a problem, with at most `faults_max` of its faults."""
    kind = problem.type
    faults = list(problem.faults[:faults_max])
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


MALFORMED_REQUEST = problem_type(
    "400 malformed-request: The request is not plain HTTP/1.1",
    "The head of the request cannot be read, or could be read in two ways: `Host` is missing or given twice, two lengths, or"
    " lines that are not in the grammar. The connection is closed.",
    "Send HTTP/1.1 with one `Host` header. If a proxy stands between, look at what it sends.",
)
MALFORMED_JSON = problem_type(
    "400 malformed-json: The body is not valid JSON",
    "The body is not one JSON document in UTF-8 (RFC 8259), or it is ambiguous: a key twice in one object, a lone"
    " surrogate, NaN or Infinity, or more than 32 levels.",
    "Send one JSON document in UTF-8. `errors` points to the place, if there is one.",
)
MALFORMED_QUERY = problem_type(
    "400 malformed-query: The query string cannot be read",
    "The query string is not `name=value` pairs in percent-encoded UTF-8.",
    "Percent-encode names and values.",
)
MALFORMED_HEADER = problem_type(
    "400 malformed-header: A request header cannot be read",
    "A header of the request does not have the form that the operation needs.",
    "`errors` names the header and its form.",
)
UNAUTHENTICATED = problem_type(
    "401 unauthenticated: A valid token is needed",
    "The request has no bearer token, or the token is unknown, expired or revoked.",
    "Send `Authorization: Bearer kjr_...`. `kjr up` prints a token, and `kjr token create` creates one.",
)
FOREIGN_ORIGIN = problem_type(
    "403 foreign-origin: A page of another site sent the request",
    "The server runs without tokens (`KJR_AUTH=none`), and the request comes from a web page that it did not serve: `Origin` or"
    " `Sec-Fetch-Site` says so. Any page could run commands otherwise.",
    "Use the command line or a script. For pages of your own, use tokens (`KJR_AUTH=token`).",
)
NOT_FOUND = problem_type(
    "404 not-found: Not found",
    "The path, or what it names, does not exist. A malformed job id is answered in the same way.",
    "Check the path and the id. `GET /v1/jobs` lists the jobs.",
)
METHOD_NOT_ALLOWED = problem_type(
    "405 method-not-allowed: Method not allowed",
    "The path exists, but not with this method.",
    "Use a method of the `Allow` header.",
)
NOT_ACCEPTABLE = problem_type(
    "406 not-acceptable: Not acceptable",
    "The `Accept` header does not allow the only media type of this answer.",
    "Remove the header, or add the media type that the detail names.",
)
BODY_TIMEOUT = problem_type(
    "408 body-timeout: The body did not arrive in time",
    "The request body was not complete within the server's limit.",
    "Retry over a faster connection, or send less at once.",
    retryable=True,
)
BODY_TOO_LARGE = problem_type(
    "413 body-too-large: The body is too large",
    "The request body is larger than the server accepts.",
    "Split the batch, or put large input into a volume or an object store.",
)
BODY_TOO_COMPLEX = problem_type(
    "413 body-too-complex: The body holds too many values",
    "The body holds more than 250,000 values, or a number of more than 10,000 digits. It was not decoded.",
    "Split the batch. No job needs so many fields.",
)
UNSUPPORTED_MEDIA_TYPE = problem_type(
    "415 unsupported-media-type: Unsupported media type",
    "The body is not `application/json` in UTF-8, or it is compressed.",
    "Send `Content-Type: application/json` and no `Content-Encoding`.",
)
FOREIGN_HOST = problem_type(
    "421 foreign-host: The server is not known by this name",
    "The header `Host` names a host that this server does not answer for. A page on the web can let its name lead to this"
    " machine (DNS rebinding), so only loopback and the names in `KJR_ALLOWED_HOSTS` are served.",
    "Use the address that the server printed at its start, or add the name to `KJR_ALLOWED_HOSTS`.",
)
VALIDATION_FAILED = problem_type(
    "422 validation-failed: The request breaks one or more rules",
    "The request can be read, but some of its fields break rules. All faults are reported at once.",
    "Each entry of `errors` points to a field, and says what is wrong and what the limit is.",
)
HEAD_TOO_LARGE = problem_type(
    "431 head-too-large: The head of the request is too large",
    "The request line and the headers together are larger than 64 KiB, or there are more than 128 headers.",
    "Send fewer and shorter headers.",
)
INTERNAL_ERROR = problem_type(
    "500 internal-error: Internal error",
    "The server has a bug, or something failed that it does not expect. Its log has the details under the request id.",
    "Retry. If it fails again, report it with the request id.",
    retryable=True,
)

TOO_MANY_BODIES = problem_type(
    "503 too-many-bodies: Too many large requests at once",
    "The bodies that the server is reading and working on have `KJR_BODIES_MAX_BYTES` together, or those with your token half"
    " of it. This one was not read. Bodies up to 64 KiB are not counted.",
    "Retry after `Retry-After` seconds, and send fewer large batches at once.",
    retryable=True,
)
TOO_MANY_CONNECTIONS = problem_type(
    "503 too-many-connections: Too many connections",
    "The server has as many connections as `KJR_CONNECTIONS_MAX` or `KJR_CONNECTIONS_PER_PEER_MAX` allows, and all of them are"
    " busy. Only the probes are answered.",
    "Retry after `Retry-After` seconds, and use fewer connections. Behind a proxy, all requests come from one peer.",
    retryable=True,
)
HTTP_VERSION = problem_type(
    "505 http-version: This version of HTTP is not spoken",
    "The request is not HTTP/1.1 or HTTP/1.0. The connection is closed.",
    "Use HTTP/1.1. A proxy in front can speak other versions with its clients.",
)

ANY_REQUEST = (MALFORMED_REQUEST, FOREIGN_HOST, HEAD_TOO_LARGE, INTERNAL_ERROR, TOO_MANY_CONNECTIONS, HTTP_VERSION)
"""Problems that any request may be answered with."""

KIT_PROBLEMS = [kind for kind in list(globals().values()) if isinstance(kind, ProblemType)]


def of_document(error: Exception) -> RequestProblem | None:
    """Return the problem of a body that is not JSON or breaks rules; None for any other error."""
    if isinstance(error, Malformed):
        return RequestProblem(MALFORMED_JSON, str(error), faults=error.faults)
    if isinstance(error, TooComplex):
        return RequestProblem(BODY_TOO_COMPLEX, str(error))
    return of_faults(error.faults) if isinstance(error, Invalid) else None


def of_faults(faults: Sequence[Fault]) -> RequestProblem:
    """Return the problem of a body that breaks rules."""
    return RequestProblem(VALIDATION_FAILED, summary(faults), faults=faults)
