"""The exit codes of `kjr`: a frozen interface, in one table. docs/reference/exit-codes.md shows the same table.

Verbs that wait for a job (`run`, `wait`, `submit --wait`, `logs --exit-code`) return the job's own exit code. Codes of our
own therefore mean what they mean to a shell, to `timeout` or to `docker run`. Other verbs use a small set of usual codes.
The code of a job is read from its record, never from its log.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from kube_job_runner.client import Job

OK = 0
ERROR = 1
USAGE = 2
NOT_FOUND = 3
UNAUTHORIZED = 4
STILL_RUNNING = 75  # EX_TEMPFAIL in sysexits.h: try again later
RUN_TIMEOUT = 124  # timeout(1) of coreutils
NO_EXIT_CODE = 125  # docker run: the command is not at fault
NOT_EXECUTABLE = 126  # POSIX shells
COMMAND_NOT_FOUND = 127  # POSIX shells
INTERRUPTED = 130  # 128 + SIGINT
READER_GONE = 141  # 128 + SIGPIPE
TERMINATED = 143  # 128 + SIGTERM


class Row(NamedTuple):
    """A row of the table: the code as text, whether waiting verbs return it, and its meaning."""

    code: str
    waiting: bool
    meaning: str


TABLE: tuple[Row, ...] = (
    Row("0", True, "the job succeeded; with several jobs, all of them did"),
    Row("N", True, "the job failed; this is the exit code of its own program (container `main`), 1 to 255"),
    Row("1", True, "with several jobs: at least one did not succeed"),
    Row("75", True, "the job has not ended within --wait-timeout"),
    Row("124", True, "the job exceeded its run timeout"),
    Row(
        "125",
        True,
        "there is no exit code: the submit was refused, the job could not be started, the infrastructure or another "
        "container failed, or kjr itself failed (wrong usage, no server, wrong token, no such job)",
    ),
    Row("126", True, "the command of the job cannot be executed"),
    Row("127", True, "the command of the job does not exist"),
    Row("130", True, "kjr was interrupted by Ctrl-C (SIGINT)"),
    Row("141", True, "the reader of the output closed the pipe (SIGPIPE)"),
    Row("143", True, "the job was cancelled by somebody else, or SIGTERM ended kjr"),
    Row("0", False, "done"),
    Row("1", False, "failed; the last lines of stderr say why"),
    Row("2", False, "wrong usage: an unknown option, an invalid value, or a wrong setting"),
    Row("3", False, "no such job"),
    Row("4", False, "the token is missing or wrong, or it does not allow this"),
    Row("130", False, "kjr was interrupted by Ctrl-C (SIGINT)"),
    Row("141", False, "the reader of the output closed the pipe (SIGPIPE)"),
    Row("143", False, "SIGTERM ended kjr"),
)

BY_REASON: dict[str, int] = {
    "RunTimeout": RUN_TIMEOUT,
    "DeadlineExceeded": RUN_TIMEOUT,  # the cluster enforces the same deadline
    "CommandNotFound": COMMAND_NOT_FOUND,
    "CommandNotExecutable": NOT_EXECUTABLE,
    "WrongArchitecture": NOT_EXECUTABLE,
}
"""Reasons that override the recorded exit code, because it comes from the container runtime and not from the command."""


def of_job(job: Job) -> int:
    """Return the exit code of a waiting verb for one job."""
    if not job.terminal:
        return STILL_RUNNING
    if job.state == "succeeded":
        return OK
    if job.state == "cancelled":
        return TERMINATED
    by_reason = BY_REASON.get(job.reason or "")
    if by_reason is not None:
        return by_reason
    if job.exit_code is not None and 1 <= job.exit_code <= 255:
        return job.exit_code
    return NO_EXIT_CODE


def of_jobs(jobs: list[Job]) -> int:
    """Return the exit code of a waiting verb for all its jobs."""
    if len(jobs) == 1:
        return of_job(jobs[0])
    if any(not job.terminal for job in jobs):
        return STILL_RUNNING
    return OK if all(job.succeeded for job in jobs) else ERROR
