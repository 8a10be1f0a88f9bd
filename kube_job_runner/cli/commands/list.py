"""`kjr list`: lists jobs, newest first."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, NoReturn

import click

from kube_job_runner.cli import invocation, job_reference, options
from kube_job_runner.cli.terminal import output

if TYPE_CHECKING:
    from kube_job_runner.client import Client, Job

WATCH_SECONDS = 2.0
_STATES = ("queued", "starting", "running", "stopping", "succeeded", "failed", "cancelled")


@click.command("list")
@click.option("--state", multiple=True, type=click.Choice(_STATES), help="Only jobs in this state. May be repeated.")
@click.option("--queue", help="Only jobs in this queue.")
@click.option("--namespace", help="Only jobs in this Kubernetes namespace.")
@click.option("-l", "--label", "labels", multiple=True, metavar="SELECTOR", help="Label selector, as for kubectl.")
@click.option("--name", help="Only jobs with this name.")
@click.option("--reason", "--cause", metavar="REASON", help="Only jobs that failed for this reason, like OutOfMemory.")
@click.option("--rerun-of", metavar="ID", help="Only reruns of this job.")
@click.option("--since", type=options.DURATION, help="Only jobs submitted in this period, like 2h.")
@click.option("--limit", type=click.IntRange(1), default=20, show_default=True, help="Maximum number of jobs.")
@click.option("-w", "--watch", is_flag=True, help="Keep showing changes.")
@options.output()
@options.connection
def command(
    *, labels: tuple[str, ...], rerun_of: str | None, since: float | None, limit: int, watch: bool, **filters: Any
) -> None:
    """List jobs, newest first."""
    current = invocation.current()
    filters["labels"] = ",".join(labels)
    if since is not None:
        filters["created_after"] = datetime.now(UTC) - timedelta(seconds=since)
    with current.client() as client:
        if rerun_of is not None:
            filters["rerun_of"] = job_reference.resolve(client, rerun_of).id
        if watch:
            _watch(client, current, filters, limit)
        jobs = _newest(client, filters, limit + 1)
    output.write_jobs(jobs[:limit], current)
    if not jobs:
        current.note("kjr: no jobs match")
    elif len(jobs) > limit and current.output in ("table", "wide"):
        current.note(f"kjr: only the newest {limit} jobs are shown; --limit shows more")


def _newest(client: Client, filters: dict[str, Any], limit: int) -> list[Job]:
    return list(client.list(**filters, limit=limit, page_size=500))


def _watch(client: Client, current: invocation.Invocation, filters: dict[str, Any], limit: int) -> NoReturn:
    as_table = current.output in ("table", "wide")
    if current.stdout_is_terminal and as_table:
        _watch_on_terminal(client, current, filters, limit)
    seen: dict[str, int] = {}
    first = True
    while True:
        changed = [job for job in reversed(_newest(client, filters, limit)) if seen.get(job.id) != job.version]
        seen.update({job.id: job.version for job in changed})
        if changed and as_table:
            columns, rows = output.job_table(changed, current)
            if first:
                output.write_aligned(columns, rows, state_column=1)
            else:
                for row in rows:
                    click.echo("  ".join(cell for cell in row if cell))
        elif changed:
            output.write_objects([job.raw for job in changed], "jsonl" if current.output == "json" else current.output)
        first = False
        time.sleep(WATCH_SECONDS)


def _watch_on_terminal(client: Client, current: invocation.Invocation, filters: dict[str, Any], limit: int) -> NoReturn:
    from kube_job_runner.cli.terminal import live

    with live.Screen(colored=current.colored) as screen:
        while True:
            columns, rows = output.job_table(_newest(client, filters, limit), current)
            lines, _ = output.terminal_lines(columns, rows, current, state_column=1)
            screen.show([output.styled(line) for line in lines])
            time.sleep(WATCH_SECONDS)
