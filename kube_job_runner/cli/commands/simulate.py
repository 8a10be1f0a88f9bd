"""`kjr simulate`: shows what a retry policy decides for past jobs, or for a series of failures."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import click

from kube_job_runner.cli import invocation, job_reference, options
from kube_job_runner.cli.terminal import output, tables, text
from kube_job_runner.domain import durations

if TYPE_CHECKING:
    from kube_job_runner.client import Simulation

_FAILURE = re.compile(r"([A-Za-z][A-Za-z0-9_-]*)(?::([0-9]{1,3}))?")


class Failure(click.ParamType[dict[str, Any]]):
    """A failure written like `OutOfMemory` or `ApplicationExit:3`."""

    name = "reason[:exit]"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> dict[str, Any]:
        match = _FAILURE.fullmatch(str(value))
        if match is None:
            self.fail(f"{value!r} is not a failure; write it like OutOfMemory or ApplicationExit:3", param, ctx)
        return {"reason": match[1]} | ({} if match[2] is None else {"exit_code": int(match[2])})


@click.command("simulate")
@click.argument("references", nargs=-1, metavar="[ID...]")
@click.option(
    "-f", "--file", required=True, metavar="FILE|-", help="The policy, as YAML or JSON: alone, or as `retry` of a spec."
)
@click.option("--failure", "failures", multiple=True, type=Failure(), metavar="REASON[:EXIT]",
              help="A failure instead of jobs. Repeat it for the failures that follow.")  # fmt: skip
@click.option("--memory", metavar="QUANTITY", help="With --failure: memory of the first attempt, like 1Gi.")
@options.output("table", "json", "jsonl", "yaml")
@options.connection
def command(
    references: tuple[str, ...], *, file: str, failures: tuple[dict[str, Any], ...], memory: str | None
) -> None:
    """Show what a retry policy decides after each attempt of past jobs, or after each failure. Nothing is run."""
    from kube_job_runner.cli import specfile

    if bool(references) == bool(failures):
        raise click.UsageError("give either ids or --failure REASON[:EXIT]")
    if references and memory is not None:
        raise click.UsageError("--memory needs --failure; jobs have the memory of their spec")
    specs = specfile.load(file)
    if len(specs) != 1:
        raise click.UsageError(f"-f {file}: holds {len(specs)} documents; it must hold one policy")
    policy, memory = _policy(specs[0], memory if not references else None, of_jobs=bool(references))
    current = invocation.current()
    with current.client() as client:
        ids = [job_reference.resolve(client, reference).id for reference in references]
        found = client.simulate(policy, jobs=ids, failures=failures, memory=memory)
    if current.output == "table":
        _write(found, current)
    else:
        output.write_objects([one.raw for one in found], current.output, single=True)


def _policy(spec: dict[str, Any], memory: str | None, *, of_jobs: bool) -> tuple[dict[str, Any], str | None]:
    """Return the policy of a file and the memory of the first attempt. A whole spec holds both."""
    if "image" not in spec and "retry" not in spec:
        return spec, memory
    policy = spec.get("retry") or {}
    resources = spec.get("resources") or {}
    if not isinstance(policy, dict) or not isinstance(resources, dict):
        raise click.UsageError("retry and resources must be objects")
    return policy, memory or (None if of_jobs else resources.get("memory"))


def _write(found: list[Simulation], current: invocation.Invocation) -> None:
    jobs = [one.job_id or "" for one in found]
    ids = output.short_ids(jobs)
    columns = tables.columns("JOB") if any(jobs) else []
    columns += tables.columns(">ATTEMPT", "REASON", ">EXIT", "CHARGED TO", "THEN", "MEMORY", "~WHY")
    rows = []
    for one in found:
        head = [ids[one.job_id or ""]] if any(jobs) else []
        rows += [[*head, *_cells(decision)] for decision in one.decisions]
    output.write_table(columns, rows, current)
    for one in found:
        current.note(_summary(one))


def _cells(decision: dict[str, Any]) -> list[str]:
    reached = decision.get("reached", True)
    then = "end" if reached else "not reached"
    if reached and decision.get("retry"):
        then = f"retry in {durations.show(decision.get('delay_seconds') or 0.0)}"
    known = [decision.get(name) for name in ("attempt", "reason", "exit_code", "charged_to")]
    return tables.cells(*known, then, *(decision.get(name) if reached else None for name in ("memory", "why")))


def _summary(one: Simulation) -> str:
    who = f"job {text.line(one.job_id)}" if one.job_id else "the policy"
    made = f"{one.attempts} of {len(one.decisions)} attempts, {durations.show(one.waited_seconds)} of waiting"
    if not one.decisions:
        return f"kjr: {who}: no attempt has ended"
    if one.outcome == "open":
        return f"kjr: {who}: {made}; then another attempt, whose outcome is unknown"
    return f"kjr: {who}: {text.line(one.outcome)} after {made}"
