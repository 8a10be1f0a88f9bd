"""Reports errors: one message on stderr, and an exit code."""

from __future__ import annotations

import sys

from kube_job_runner.cli import exitcodes, invocation


class CommandFailed(Exception):
    """A command cannot go on. The message is for the user; `exit_code` is that of verbs that do not wait."""

    def __init__(self, message: str, *, exit_code: int = exitcodes.ERROR) -> None:
        super().__init__(message)
        self.exit_code = exit_code


def report(error: Exception, current: invocation.Invocation) -> int | None:
    """Print what went wrong and return the exit code. Return None for a bug of ours: it needs its traceback."""
    code = _code(error)
    if code is None:
        return None
    current.say(f"kjr: {_message(error)}")
    return exitcodes.NO_EXIT_CODE if current.waiting else code


def _code(error: Exception) -> int | None:
    if isinstance(error, CommandFailed):
        return error.exit_code
    if "kube_job_runner.client.errors" in sys.modules:
        from kube_job_runner.client import errors

        if isinstance(error, errors.NotConfigured):
            return exitcodes.USAGE
        if isinstance(error, errors.NotFound):
            return exitcodes.NOT_FOUND
        if isinstance(error, errors.Unauthorized | errors.Forbidden):
            return exitcodes.UNAUTHORIZED
        if isinstance(error, errors.ClientError):
            return exitcodes.ERROR
    return _server_code(error)


def _server_code(error: Exception) -> int | None:
    settings = sys.modules.get("kube_job_runner.settings")
    if settings is not None and isinstance(error, settings.SettingsError):
        return exitcodes.USAGE
    domain = sys.modules.get("kube_job_runner.domain.errors")
    if domain is not None and isinstance(error, domain.ConfigurationError):
        return exitcodes.USAGE
    if domain is not None and isinstance(error, domain.KjrError):
        return exitcodes.ERROR
    return None


def _message(error: Exception) -> str:
    text = str(error)
    request_id = getattr(getattr(error, "problem", None), "request_id", None)
    return f"{text} (request {request_id})" if request_id else text
