"""Reports errors: one message on stderr, and an exit code."""

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


_CODES = (
    ("client.errors", "NotConfigured", exitcodes.USAGE),
    ("client.errors", "NotFound", exitcodes.NOT_FOUND),
    ("client.errors", "Unauthorized", exitcodes.UNAUTHORIZED),
    ("client.errors", "Forbidden", exitcodes.UNAUTHORIZED),
    ("client.errors", "ClientError", exitcodes.ERROR),
    ("settings", "SettingsError", exitcodes.USAGE),
    ("domain.errors", "ConfigurationError", exitcodes.USAGE),
    ("domain.errors", "KjrError", exitcodes.ERROR),
)
"""The exit codes of the errors by module and class; the first that fits counts."""


def _code(error: Exception) -> int | None:
    if isinstance(error, CommandFailed):
        return error.exit_code
    for module, name, code in _CODES:
        found = sys.modules.get(f"kube_job_runner.{module}")  # not imported here: an error that was raised has been
        if found is not None and isinstance(error, getattr(found, name)):
            return code
    return None


def _message(error: Exception) -> str:
    text = str(error)
    if type(error).__name__ == "Unreached":
        text += "\nIs it running? Start one with `kjr up`, or name another with --server or KJR_SERVER."
    request_id = getattr(getattr(error, "problem", None), "request_id", None)
    return f"{text} (request {request_id})" if request_id else text
