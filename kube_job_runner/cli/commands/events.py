"""`kjr events`: what happened to a job, in order of time: changes of its state, and the phases of its attempts."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from kube_job_runner.cli import invocation, options

if TYPE_CHECKING:
    from kube_job_runner.client import Client, Job


@click.command("events", short_help="Show what happened to a job, in order of time (also: timeline).")
@click.argument("reference", metavar="ID")
@click.option("-f", "--follow", is_flag=True, help="Go on until the job has ended.")
@options.output("table", "json", "jsonl", "yaml")
@options.connection
def command(reference: str, *, follow: bool) -> int:
    """Show what happened to a job: changes of its state, and the phases of its attempts with their durations."""
    from kube_job_runner.cli import job_reference

    current = invocation.current()
    if follow and current.output in ("json", "yaml"):
        raise click.UsageError(f"-f does not go with -o {current.output}; -o jsonl writes one event per line")
    with current.client() as client:
        job = job_reference.resolve(client, reference)
        return _follow(client, current, job) if follow else _show(client, current, job)


def _show(client: Client, current: invocation.Invocation, job: Job) -> int:
    from kube_job_runner.cli import happenings
    from kube_job_runner.cli.terminal import output

    transitions = client.transitions(job.id)
    if not transitions:  # every job has one, from its submit on
        click.echo("kjr: retention removed the changes of state of this job; its phases are kept", err=True)
    events = happenings.ordered(transitions, client.timeline(job.id))
    if current.output == "table":
        output.write_table(happenings.COLUMNS, [event.cells for event in events], current)
    else:
        output.write_objects([event.raw for event in events], current.output)
    return 0


def _follow(client: Client, current: invocation.Invocation, job: Job) -> int:
    from kube_job_runner.cli import happenings
    from kube_job_runner.cli.terminal import output

    if current.output == "table":
        click.echo(happenings.line([column.title for column in happenings.COLUMNS]))
    seen: set[tuple[str, ...]] = set()
    for changed in client.changes(job.id):
        for event in happenings.ordered(client.transitions(changed.id), client.timeline(changed.id)):
            if event.key in seen:
                continue
            seen.add(event.key)
            if current.output == "table":
                click.echo(happenings.line(event.cells))
            else:
                output.write_json(event.raw, indent=0)
    return 0
