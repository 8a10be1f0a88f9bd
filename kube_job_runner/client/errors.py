"""The errors of the client. All are subclasses of `ClientError`.

ClientError
  NotConfigured        no server is known
  ConnectionFailed     no answer within the retry budget (the outcome is unknown; repeat the same call)
    Unreached          no try reached the server, so nothing was sent
  UnexpectedAnswer     the answer does not come from this API
  ApiError             the server refused: InvalidRequest, Unauthorized, Forbidden, NotFound, Conflict,
                       IdempotencyMismatch, RateLimited, ServerError
  JobFailed            the job did not succeed; JobCancelled: it was cancelled
  WaitTimeout          the job has not ended within the time to wait
"""

from kube_job_runner.client.models import Job, Problem


class ClientError(Exception):
    """An error of the kube-job-runner client."""


class NotConfigured(ClientError):
    """No server is known: give its URL, set KJR_SERVER, or start one with `kjr up`."""

    def __init__(self, message: str | None = None) -> None:
        super().__init__(message or (type(self).__doc__ or "").strip())


class ConnectionFailed(ClientError):
    """The server did not answer within the retry budget."""


class Unreached(ConnectionFailed):
    """No try reached the server, so nothing was sent: nobody listens there, or the name is unknown."""


class UnexpectedAnswer(ClientError):
    """The answer does not come from this API. The URL probably belongs to another service."""


class ApiError(ClientError):
    """The server answered with an error. `problem` is its RFC 9457 object, `status` the HTTP status."""

    def __init__(self, problem: Problem) -> None:
        self.problem = problem
        self.status = problem.status
        super().__init__(_text(problem))

    @property
    def code(self) -> str:
        """The stable machine code of the problem."""
        return self.problem.code


class InvalidRequest(ApiError):
    """The request breaks a rule of the API. `problem.errors` names each field."""


class IdempotencyMismatch(InvalidRequest):
    """The idempotency key was used before, with another request."""


class Unauthorized(ApiError):
    """The token is missing, wrong, expired or revoked."""


class Forbidden(ApiError):
    """The token is valid, but it does not allow this."""


class NotFound(ApiError):
    """There is no such object, or the token does not allow to see it."""


class Conflict(ApiError):
    """The state of the object does not allow this."""


class RateLimited(ApiError):
    """The server asks to wait longer than the retry budget allows."""


class ServerError(ApiError):
    """The server failed."""


class JobFailed(ClientError):
    """A job did not succeed. `job` is its record; `reason`, `explanation` and `exit_code` come from it."""

    def __init__(self, job: Job) -> None:
        self.job = job
        self.reason = job.reason or ""
        self.explanation = job.explanation or ""
        self.exit_code = job.exit_code
        detail = ": ".join(part for part in (self.reason, self.explanation) if part)
        super().__init__(f"job {job.id} {job.state}" + (f": {detail}" if detail else ""))


class JobCancelled(JobFailed):
    """A job was cancelled."""


class WaitTimeout(ClientError, TimeoutError):
    """The job has not ended within the time to wait. `job` is its newest known record."""

    def __init__(self, job: Job, timeout_seconds: float) -> None:
        self.job = job
        super().__init__(f"job {job.id} is still {job.state} after {timeout_seconds:g} s")


_BY_STATUS: dict[int, type[ApiError]] = {
    **dict.fromkeys((400, 411, 413, 415, 422), InvalidRequest),
    401: Unauthorized,
    403: Forbidden,
    404: NotFound,
    409: Conflict,
    429: RateLimited,
}


def of_problem(problem: Problem) -> ApiError:
    """Return the typed error of a problem."""
    if problem.status == 422 and "idempotency" in problem.code.lower():
        return IdempotencyMismatch(problem)
    if problem.status >= 500:
        return ServerError(problem)
    return _BY_STATUS.get(problem.status, ApiError)(problem)


def checked(job: Job, *, check: bool) -> Job:
    """Return an ended job, or raise if `check` is set and it did not succeed.

    Raises:
        JobCancelled: it was cancelled.
        JobFailed: it failed.
    """
    if not check or job.succeeded:
        return job
    raise JobCancelled(job) if job.state == "cancelled" else JobFailed(job)


def _text(problem: Problem) -> str:
    text = problem.detail or problem.title or f"HTTP {problem.status}"
    for error in problem.errors:
        text += f"\n  {error.pointer or '/'}: {error.detail}"
    return text
