"""`kjr cancel`: cancels jobs, by id or by label."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import click

from kube_job_runner.cli import invocation, job_reference, options
from kube_job_runner.cli.attach import reports
from kube_job_runner.cli.terminal import output, text

if TYPE_CHECKING:
    from kube_job_runner.client import Client, Job

_LIVE = ("queued", "starting", "running")
_GRACE_MAX_SECONDS = 3600


@click.command("cancel")
@click.argument("references", nargs=-1, metavar="ID...")
@click.option("-l", "--label", multiple=True, metavar="SELECTOR", help="Cancel all unfinished jobs with these labels.")
@click.option("--reason", default="", help="Reason, for the job's record.")
@click.option(
    "--grace", type=options.DURATION, help="Time between SIGTERM and SIGKILL. [default: as in the job's spec]"
)
@click.option("--force", is_flag=True, help="Kill at once, like --grace 0.")
@click.option("-y", "--yes", is_flag=True, help="Do not ask for confirmation.")
@click.option("--wait", is_flag=True, help="Return once nothing of the jobs is left in the cluster.")
@options.output("table", "wide", "json", "jsonl", "yaml", "name", "id", default="id")
@options.connection
def command(
    references: tuple[str, ...],
    *,
    label: tuple[str, ...],
    reason: str,
    grace: float | None,
    force: bool,
    yes: bool,
    wait: bool,
) -> int:
    """Cancel jobs. A job that has ended already is not changed; that is not an error.

    With -l, the number of jobs is shown for confirmation first.
    """
    if bool(references) == bool(label):
        raise click.UsageError("give either ids or -l SELECTOR")
    grace_seconds = _grace_seconds(grace, force=force)
    current = invocation.current()
    with current.client() as client:
        if label:
            jobs = list(client.list(labels=",".join(label), state=_LIVE, page_size=500))
            if not _confirmed(current, jobs, yes=yes):
                return 1 if jobs else 0
        else:
            jobs = [job_reference.resolve(client, reference) for reference in references]
        after = [_cancel(client, current, job, reason, grace_seconds) for job in jobs]
        if references:
            _report_outlook(current, after)
        if wait:
            after = [client.wait(job.id, check=False) for job in after]
    output.write_jobs(after, current, single=len(references) == 1)
    return 0


def _grace_seconds(grace: float | None, *, force: bool) -> int | None:
    if grace is None:
        return 0 if force else None
    if force:
        raise click.UsageError("give either --grace or --force; --force means --grace 0")
    if grace != int(grace) or grace > _GRACE_MAX_SECONDS:
        raise click.UsageError("--grace: must be a whole number of seconds, at most 1h")
    return int(grace)


def _report_outlook(current: invocation.Invocation, jobs: list[Job]) -> None:
    for job in jobs:
        reports.warnings(current, job)
        outlook = (job.cancel or {}).get("outlook")
        if outlook:
            current.note(f"kjr: job {text.line(job.id)} is {text.line(job.state)}. {text.line(outlook)}")


def _confirmed(current: invocation.Invocation, jobs: list[Job], *, yes: bool) -> bool:
    if not jobs:
        current.note("kjr: no unfinished job has these labels")
        return False
    if yes:
        return True
    count = f"{len(jobs)} job" + ("s" if len(jobs) != 1 else "")
    if not sys.stdin.isatty():
        raise click.UsageError(f"this would cancel {count}; add -y to confirm")
    return click.confirm(f"Cancel {count}?", err=True)


def _cancel(client: Client, current: invocation.Invocation, job: Job, reason: str, grace_seconds: int | None) -> Job:
    from kube_job_runner.client import errors

    try:
        return client.cancel(job.id, reason, grace_seconds=grace_seconds)
    except errors.Conflict:
        ended = client.get(job.id)
        current.note(f"kjr: job {ended.id} has ended already: {ended.state}")
        return ended
