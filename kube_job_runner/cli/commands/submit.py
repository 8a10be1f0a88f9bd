"""`kjr submit`: submits jobs from files."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from kube_job_runner.cli import invocation, options

if TYPE_CHECKING:
    from kube_job_runner.client import BatchAnswer, Client, Job

_OUTPUTS = ("id", "name", "table", "wide", "json", "jsonl", "yaml")


@click.command("submit")
@click.option(
    "-f", "--file", "files", multiple=True, required=True, metavar="FILE|-", help="YAML or JSON file; - is stdin."
)
@options.set_fields
@click.option(
    "--wait", is_flag=True, help="Wait until the jobs have ended and return the exit code, as `kjr wait` does."
)
@click.option(
    "--wait-timeout", type=options.DURATION, help="With --wait: return 75 if the jobs have not ended after this time."
)
@click.option("--strict", is_flag=True, help="Refuse fields that the server does not know. [default: warn]")
@click.option("--dry-run", is_flag=True, help="Print the specs and submit nothing.")
@click.option("--idempotency-key", metavar="KEY", help="The same key never makes a second job.")
@options.output(*_OUTPUTS, default="id")
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
    from kube_job_runner.cli.terminal import output

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
        if wait and jobs:
            return _wait(client, current, jobs, wait_timeout, refused=refused)
    output.write_jobs(jobs, current, single=len(specs) == 1)
    return (125 if wait else 1) if refused else 0


def _submit(
    client: Client, specs: list[dict[str, Any]], key: str | None, current: invocation.Invocation, *, strict: bool
) -> tuple[list[Job], int]:
    from kube_job_runner.cli import job_reference
    from kube_job_runner.cli.attach import reports

    if len(specs) == 1:
        jobs, refused = [client.submit(specs[0], idempotency_key=key, strict=strict)], 0
    else:
        answers = client.submit_many(specs, idempotency_key=key, strict=strict)
        jobs = [answer.job for answer in answers if answer.job is not None]
        refused = len(answers) - len(jobs)
        for number, answer in enumerate(answers, start=1):
            if answer.job is None:
                _report_refused(current, number, answer)
        if refused:
            current.say(f"kjr: {len(jobs)} jobs submitted, {refused} refused")
    for job in jobs:
        reports.warnings(current, job)
    if jobs:
        job_reference.remember(client, jobs[-1].id)
    return jobs, refused


def _report_refused(current: invocation.Invocation, number: int, answer: BatchAnswer) -> None:
    from kube_job_runner.client import errors

    why = str(errors.of_problem(answer.problem)) if answer.problem is not None else f"HTTP {answer.status}"
    current.say(f"kjr: job {number} was refused: {why}")


def _wait(
    client: Client, current: invocation.Invocation, jobs: list[Job], timeout: float | None, *, refused: int
) -> int:
    from kube_job_runner.cli.attach import waiting
    from kube_job_runner.cli.terminal import output

    ended, code = waiting.wait_all(client, current, [job.id for job in jobs], timeout)
    output.write_jobs(ended, current, single=len(jobs) == 1)
    return code if not refused or code == 75 else max(code, 1)
