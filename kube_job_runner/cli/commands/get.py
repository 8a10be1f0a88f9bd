"""`kjr get`: shows everything that is known about jobs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from kube_job_runner.cli import invocation, job_reference, options
from kube_job_runner.cli.terminal import describe, output

if TYPE_CHECKING:
    from kube_job_runner.client import Client, Job


@click.command("get")
@click.argument("references", nargs=-1, required=True, metavar="ID...")
@click.option("--spec", is_flag=True, help="Show the stored spec.")
@click.option("--attempts", is_flag=True, help="Show only the attempts: what ended each, and which retry budget paid.")
@options.output()
@options.connection
def command(references: tuple[str, ...], *, spec: bool, attempts: bool) -> None:
    """Show jobs: state, phases with their durations, attempts, reason, explanation, and the next step."""
    current = invocation.current()
    if spec and attempts:
        raise click.UsageError("give either --spec or --attempts")
    with current.client() as client:
        jobs = [job_reference.resolve(client, reference) for reference in references]
        if spec:
            form = current.output if current.output in ("json", "jsonl", "yaml") else "yaml"
            output.write_objects([client.spec(job.id) for job in jobs], form, single=True)
        elif attempts:
            _show_attempts(client, jobs, current)
        elif current.output == "table":
            for at, job in enumerate(jobs):
                if at:
                    click.echo()
                lines = describe.describe(job, client.timeline(job.id), client.attempts(job.id))
                output.write_lines(lines, current)
        elif current.output in ("json", "jsonl", "yaml"):
            output.write_objects([_whole(client, job) for job in jobs], current.output, single=True)
        else:
            output.write_jobs(jobs, current)


def _show_attempts(client: Client, jobs: list[Job], current: invocation.Invocation) -> None:
    found = [(job, client.explain(job.id)) for job in jobs]
    if current.output not in ("table", "wide"):
        rows = [{"job_id": job.id, **attempt} for job, explained in found for attempt in explained.attempts]
        output.write_objects(rows, current.output)
        return
    cells = [cells for job, explained in found for cells in describe.attempt_rows(job, explained.attempts)]
    output.write_table(describe.ATTEMPT_COLUMNS, cells, current)


def _whole(client: Client, job: Job) -> dict[str, Any]:
    return {
        **job.raw,
        "transitions": [transition.raw for transition in client.transitions(job.id)],
        "phases": client.timeline(job.id).raw["phases"],
        "attempts": [attempt.raw for attempt in client.attempts(job.id)],
    }
