"""`kjr submit`: submits jobs from files."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from kube_job_runner.cli import invocation, job_reference, options
from kube_job_runner.cli.attach import joint_wait, reports
from kube_job_runner.cli.terminal import output

if TYPE_CHECKING:
    from kube_job_runner.client import Client, Job


@click.command("submit")
@click.option(
    "-f", "--file", "files", multiple=True, required=True, metavar="FILE|-", help="YAML or JSON file; - is stdin."
)
@options.set_fields
@options.wait_for_end
@click.option("--strict", is_flag=True, help="Refuse fields that the server does not know. [default: warn]")
@click.option("--dry-run", is_flag=True, help="Print the specs and submit nothing.")
@options.idempotency_key
@options.output("id", "name", "table", "wide", "json", "jsonl", "yaml", default="id")
@options.connection
def command(
    files: tuple[str, ...],
    assignments: tuple[tuple[str, str], ...],
    *,
    wait: bool,
    wait_timeout: float | None,
    strict: bool,
    dry_run: bool,
    idempotency_key: str | None,
) -> int:
    """Submit the jobs of all files together, and print their ids.

    A file holds one job, several YAML documents, or a list. Durations may be written like run_seconds: 10m. Refused jobs are
    reported one by one; the others are submitted.
    """
    from kube_job_runner.cli import set_option, specfile

    current = invocation.current()
    current.waiting = wait
    changes = set_option.read(assignments)
    specs = [set_option.apply(spec, changes) for name in files for spec in specfile.load(name)]
    if dry_run:
        form = current.output if current.output in ("json", "jsonl") else "yaml"
        output.write_objects(specs, form, single=True)
        return 0
    with current.client(patience=10.0) as client:
        jobs, refused = _submit(client, specs, idempotency_key, current, strict=strict)
        single = len(jobs if wait else specs) == 1
        return joint_wait.conclude(
            client, current, jobs, refused=refused, wait=wait, timeout=wait_timeout, single=single
        )


def _submit(
    client: Client, specs: list[dict[str, Any]], key: str | None, current: invocation.Invocation, *, strict: bool
) -> tuple[list[Job], int]:
    from kube_job_runner.client import errors

    if len(specs) == 1:
        jobs, refused = [client.submit(specs[0], idempotency_key=key, strict=strict)], 0
    else:
        answers = client.submit_many(specs, idempotency_key=key, strict=strict)
        jobs = [answer.job for answer in answers if answer.job is not None]
        refused = len(answers) - len(jobs)
        for number, answer in enumerate(answers, start=1):
            if answer.job is None:
                why = f"HTTP {answer.status}" if answer.problem is None else errors.of_problem(answer.problem)
                current.say(f"kjr: job {number} was refused: {why}")
        if refused:
            current.say(f"kjr: {len(jobs)} jobs submitted, {refused} refused")
    for job in jobs:
        reports.warnings(current, job)
    if jobs:
        job_reference.remember(client, jobs[-1].id)
    return jobs, refused
