"""`kjr rerun`: submits the spec of an ended job again, with or without changes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from kube_job_runner.cli import invocation, job_reference, options
from kube_job_runner.cli.attach import joint_wait, reports
from kube_job_runner.cli.terminal import text

if TYPE_CHECKING:
    from kube_job_runner.client import Client, Job


@click.command("rerun")
@click.argument("references", nargs=-1, required=True, metavar="ID...")
@options.set_fields
@click.option("--force", is_flag=True, help="Allow it before the job has ended. Then both may run at the same time.")
@options.wait_for_end
@click.option(
    "--logs", is_flag=True, help="Show phases and log of the new job and return its exit code, as `kjr run` does."
)
@options.idempotency_key
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
    if len(references) > 1 and (logs or idempotency_key):
        raise click.UsageError("--logs and --idempotency-key need exactly one ID")
    changes: dict[str, Any] = {}
    if assignments:
        from kube_job_runner.cli import set_option

        changes = set_option.read(assignments)
    current = invocation.current()
    current.waiting = wait or logs
    with current.client(patience=6.0) as client:
        old = [job_reference.resolve(client, reference) for reference in references]
        if logs:
            return _attach(client, current, old[0], changes, idempotency_key, force=force)
        new = [_rerun(client, current, job, changes, idempotency_key, force=force) for job in old]
        made = [job for job in new if job is not None]
        refused, single = len(new) - len(made), len(references) == 1
        return joint_wait.conclude(
            client, current, made, refused=refused, wait=wait, timeout=wait_timeout, single=single
        )


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
