"""The exceptions that may cross a boundary of the product: a port, a service, a component.

A handler raises `TemporaryError` or `PermanentError`; any other exception is a bug. The docstring of a class is its default
message.
"""


class KjrError(Exception):
    """Something went wrong in kube-job-runner."""

    def __init__(self, message: str | None = None) -> None:
        super().__init__(message or (type(self).__doc__ or "").strip())


class TemporaryError(KjrError):
    """The work could not be done now; a retry may succeed."""

    # `reason`, where given, is a machine code such as `QuotaExceeded`
    def __init__(self, message: str | None = None, *, delay_seconds: float = 1.0, reason: str = "") -> None:
        super().__init__(message)
        self.delay_seconds = delay_seconds
        self.reason = reason


class QuotaBusy(TemporaryError):
    """The API server could not count a quota in time. That says nothing about other requests."""


class NotSent(TemporaryError):
    """Nothing was sent to the cluster: the lease on the job was about to end."""


class PermanentError(KjrError):
    """The work can never be done as it was asked; a retry is useless."""


class ClusterRefused(PermanentError):
    """The cluster refused the request permanently.

    `reason` is the machine code for the job's record, for example `AdmissionDenied`.
    """

    def __init__(self, message: str, *, reason: str, status: int | None = None) -> None:
        super().__init__(message)
        self.reason = reason
        self.status = status


class NameTaken(PermanentError):
    """The name of the cluster job is taken by an object that is not ours."""


class NotFound(KjrError):
    """There is no such object, or you may not see it."""


class LeaseLost(KjrError):
    """Another process leads now; nothing was written."""


class DatabaseUnavailable(TemporaryError):
    """The database does not answer."""


class Unrecoverable(KjrError):
    """The process has lost what it cannot work without, and must end."""


class ConfigurationError(KjrError):
    """The configuration is wrong."""


class WrongCluster(ConfigurationError):
    """The cluster is not the one that the database belongs to."""
