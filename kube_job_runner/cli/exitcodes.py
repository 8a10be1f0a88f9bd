"""The exit codes: an interface of its own, frozen, in one table that the tests and docs/reference/exit-codes.md follow.

Verbs that wait for a job (`run`, `wait`, `submit --wait`, `logs --exit-code`) return the job's own code, so every code that
is ours must be one that a shell, `timeout` or `docker run` uses for the same thing. Other verbs use the small usual set.
The code is read from the job's record, never from its log stream.
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
STILL_RUNNING = 75  # EX_TEMPFAIL of sysexits.h: ask again later
RUN_TIMEOUT = 124  # timeout(1) of coreutils
NO_EXIT_CODE = 125  # docker run: the fault is not the command's
NOT_EXECUTABLE = 126  # POSIX shells
COMMAND_NOT_FOUND = 127  # POSIX shells
INTERRUPTED = 130  # 128 + SIGINT
READER_GONE = 141  # 128 + SIGPIPE
TERMINATED = 143  # 128 + SIGTERM


class Row(NamedTuple):
    """One line of the table: the code as text, whether it is of waiting verbs, and its meaning."""

    code: str
    waiting: bool
    meaning: str


TABLE: tuple[Row, ...] = (
    Row("0", True, "the job succeeded (with several jobs: all of them did)"),
    Row("N", True, "the job failed and this is its own exit code, 1 to 255"),
    Row("1", True, "several jobs were waited for, and at least one did not succeed"),
    Row("75", True, "the time of --wait-timeout is over; the job goes on"),
    Row("124", True, "the job ran into its run timeout"),
    Row(
        "125",
        True,
        "there is no exit code: the submit was refused, the job could not be started, the infrastructure failed, "
        "or kjr itself did (wrong usage, no server, wrong token, no such job)",
    ),
    Row("126", True, "the command of the job cannot be executed"),
    Row("127", True, "the command of the job does not exist"),
    Row("130", True, "interrupted here by Ctrl-C (SIGINT)"),
    Row("141", True, "the reader of our output went away"),
    Row("143", True, "the job was cancelled elsewhere, or kjr was ended by SIGTERM"),
    Row("0", False, "done"),
    Row("1", False, "it failed; the last lines of stderr say why"),
    Row("2", False, "wrong usage: an unknown flag, a value that cannot be read, or a wrong setting"),
    Row("3", False, "there is no such job"),
    Row("4", False, "the token is missing, wrong, or may not do this"),
    Row("130", False, "interrupted by Ctrl-C (SIGINT)"),
    Row("141", False, "the reader of our output went away"),
    Row("143", False, "ended by SIGTERM"),
)

BY_REASON: dict[str, int] = {
    "RunTimeout": RUN_TIMEOUT,
    "DeadlineExceeded": RUN_TIMEOUT,  # the backstop in the cluster for the same deadline
    "CommandNotFound": COMMAND_NOT_FOUND,
    "CommandNotExecutable": NOT_EXECUTABLE,
    "WrongArchitecture": NOT_EXECUTABLE,
}
"""Reasons that beat the recorded exit code: there it is the runtime's, not the command's."""


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
    """Return the exit code of a waiting verb for the jobs waited for."""
    if len(jobs) == 1:
        return of_job(jobs[0])
    if any(not job.terminal for job in jobs):
        return STILL_RUNNING
    return OK if all(job.succeeded for job in jobs) else ERROR
