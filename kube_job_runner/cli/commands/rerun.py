"""`kjr rerun`: submits the spec of an ended job again, with or without changes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from kube_job_runner.cli import invocation, options

if TYPE_CHECKING:
    from kube_job_runner.client import Client, Job


@click.command("rerun")
@click.argument("references", nargs=-1, required=True, metavar="ID...")
@options.set_fields
@click.option("--force", is_flag=True, help="Allow it before the job has ended. Then both may run at the same time.")
@click.option(
    "--wait", is_flag=True, help="Wait until the new jobs have ended and return the exit code, as `kjr wait` does."
)
@click.option(
    "--wait-timeout", type=options.DURATION, help="With --wait: return 75 if the jobs have not ended after this time."
)
@click.option(
    "--logs", is_flag=True, help="Show phases and log of the new job and return its exit code, as `kjr run` does."
)
@click.option("--idempotency-key", metavar="KEY", help="The same key never makes a second job.")
@options.output("id", "name", "table", "wide", "json", "jsonl", "yaml", default="id")
@options.connection
def command(
    references: tuple[str, ...],
    *,
    assignments: tuple[tuple[str, str], ...],
    force: bool,
    wait: bool,
    wait_timeout: float | None,
    logs: bool,
    idempotency_key: str | None,
) -> int:
    """Run jobs again: submit a new job for each ID, with the same spec and the changes. It is linked to the old job.

    The new spec is checked like any other. Refused jobs are reported one by one; the others are submitted.
    """
    from kube_job_runner.cli import job_reference, set_option
    from kube_job_runner.cli.attach import waiting
    from kube_job_runner.cli.terminal import output

    if len(references) > 1 and (logs or idempotency_key):
        raise click.UsageError("--logs and --idempotency-key need exactly one ID")
    changes = set_option.read(assignments)
    current = invocation.current()
    current.waiting = wait or logs
    with current.client(patience=6.0) as client:
        old = [job_reference.resolve(client, reference) for reference in references]
        if logs:
            return _attach(client, current, old[0], changes, idempotency_key, force=force)
        new = [_rerun(client, current, job, changes, idempotency_key, force=force) for job in old]
        made = [job for job in new if job is not None]
        refused = len(new) - len(made)
        code = (125 if wait else 1) if refused else 0
        if wait and made:
            made, ended_code = waiting.wait_all(client, current, [job.id for job in made], wait_timeout)
            code = ended_code if not refused or ended_code == 75 else max(ended_code, 1)
    output.write_jobs(made, current, single=len(references) == 1)
    return code


def _attach(
    client: Client, current: invocation.Invocation, job: Job, changes: dict[str, Any], key: str | None, *, force: bool
) -> int:
    from kube_job_runner.cli.attach import attached_run
    from kube_job_runner.client import api_calls

    if current.output == "id":
        current.output = "log"
    key = key or api_calls.new_idempotency_key()
    attached = attached_run.AttachedRun(current, client, key)
    return attached.run(lambda: client.rerun(job.id, changes, force=force, idempotency_key=key))


def _rerun(
    client: Client, current: invocation.Invocation, job: Job, changes: dict[str, Any], key: str | None, *, force: bool
) -> Job | None:
    from kube_job_runner.cli import job_reference
    from kube_job_runner.cli.attach import reports
    from kube_job_runner.cli.terminal import text
    from kube_job_runner.client import errors

    try:
        made = client.rerun(job.id, changes, force=force, idempotency_key=key)
    except errors.Conflict:
        current.say(
            f"kjr: job {text.line(job.id)} is {text.line(job.state)}: cancel it first, or use --force to run both"
        )
        return None
    except errors.InvalidRequest as error:
        current.say(f"kjr: job {text.line(job.id)} cannot be run again: {error}")
        return None
    job_reference.remember(client, made.id)
    reports.warnings(current, made)
    return made
