"""Waits for several jobs: for all, or for the first that ends."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kube_job_runner.cli import exitcodes
from kube_job_runner.cli.attach import follower, interrupts, progress, reports
from kube_job_runner.cli.invocation import Invocation
from kube_job_runner.cli.terminal import output, text
from kube_job_runner.domain import durations

if TYPE_CHECKING:
    from kube_job_runner.client import Client, Job

ANY_MAX = 100


def conclude(
    client: Client,
    invocation: Invocation,
    jobs: list[Job],
    *,
    refused: int,
    wait: bool,
    timeout: float | None,
    single: bool,
) -> int:
    """Print submitted jobs, after waiting for them if `wait` is set; return the exit code. `refused` counts the others."""
    code = exitcodes.OK
    if refused:
        code = exitcodes.NO_EXIT_CODE if wait else exitcodes.ERROR
    if wait and jobs:
        if len(jobs) == 1:
            invocation.note(f"kjr: job {text.line(jobs[0].id)} submitted")
        jobs, code = wait_all(client, invocation, [job.id for job in jobs], timeout, submitted_here=True)
        if refused and code != exitcodes.STILL_RUNNING:
            code = max(code, exitcodes.ERROR)
    output.write_jobs(jobs, invocation, single=single)
    return code


def wait_all(
    client: Client, invocation: Invocation, ids: list[str], timeout: float | None, *, submitted_here: bool = False
) -> tuple[list[Job], int]:
    """Wait until all jobs have ended; return their records and the exit code. Report each end when it is known.

    Raises:
        Exit: a signal came.
    """
    deadline = None if timeout is None else follower.Deadline(timeout)
    jobs: list[Job] = []
    tally = progress.Tally(invocation, len(ids))
    waited = interrupts.handled(invocation, client, lambda: ids[len(jobs) :], submitted_here=submitted_here)
    with tally, waited:
        for job_id in ids:
            for job in client.changes(job_id, timeout=None if deadline is None else deadline.left_seconds):
                last = job
                tally.show(jobs, job)
            jobs.append(last)
            tally.pause()
            _report(invocation, last, timeout)
    return jobs, exitcodes.of_jobs(jobs)


def wait_any(client: Client, invocation: Invocation, ids: list[str], timeout: float | None) -> tuple[list[Job], int]:
    """Wait until the first of the jobs has ended; return its record and the exit code.

    Raises:
        ClientError: one of the jobs cannot be watched.
        Exit: a signal came.
    """
    following = follower.Follower(client)
    for job_id in ids:
        following.watch(job_id)
    with interrupts.handled(invocation, client, lambda: ids, submitted_here=False):
        return _first_end(invocation, following, timeout)


def _first_end(invocation: Invocation, following: follower.Follower, timeout: float | None) -> tuple[list[Job], int]:
    deadline = None if timeout is None else follower.Deadline(timeout)
    latest: dict[str, Job] = {}
    while True:
        event = following.next(None if deadline is None else deadline.left_seconds)
        if isinstance(event, follower.Failed):
            raise event.error
        if isinstance(event, follower.Changed):
            latest[event.job.id] = event.job
            if event.job.terminal:
                _report(invocation, event.job, timeout)
                invocation.ending = True
                return [event.job], exitcodes.of_job(event.job)
        if event is None and deadline is not None and not deadline.left_seconds:
            for job in latest.values():
                _report(invocation, job, timeout)
            invocation.ending = True
            return list(latest.values()), exitcodes.STILL_RUNNING


def _report(invocation: Invocation, job: Job, timeout: float | None) -> None:
    if job.terminal:
        reports.end(invocation, job)
    else:
        state, waited = text.line(job.state), durations.show(timeout or 0.0)
        invocation.say(f"kjr: job {text.line(job.id)} is still {state} after {waited}")
