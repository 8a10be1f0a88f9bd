"""`kjr simulate`: shows what a retry policy decides for past jobs, or for a series of failures."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import click

from kube_job_runner.cli import invocation, job_reference, options
from kube_job_runner.cli.terminal import durations, output, tables, text

if TYPE_CHECKING:
    from kube_job_runner.client import Simulation

_FAILURE = re.compile(r"([A-Za-z][A-Za-z0-9_-]*)(?::([0-9]{1,3}))?")


class Failure(click.ParamType[dict[str, Any]]):
    """A failure written like `OutOfMemory` or `ApplicationExit:3`."""

    name = "reason[:exit]"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> dict[str, Any]:
        """Return the failure as the API takes it."""
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
def command(references: tuple[str, ...], *, file: str, failures: tuple[dict[str, Any], ...], memory: str | None) -> int:
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
    if current.output != "table":
        output.write_objects([one.raw for one in found], current.output, single=True)
    else:
        _write(found, current)
    return 0


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
    columns = [tables.Column("JOB")] if any(jobs) else []
    columns += [
        tables.Column("ATTEMPT", right=True),
        tables.Column("REASON"),
        tables.Column("EXIT", right=True),
        tables.Column("CHARGED TO"),
        tables.Column("THEN"),
        tables.Column("MEMORY"),
        tables.Column("WHY"),
    ]
    rows = []
    for one in found:
        head = [ids[one.job_id or ""]] if any(jobs) else []
        rows += [[*head, *_cells(decision)] for decision in one.decisions]
    output.write_table(columns, rows, current)
    for one in found:
        current.note(_summary(one))


def _cells(decision: dict[str, Any]) -> list[str]:
    then = "end"
    if not decision.get("reached", True):
        then = "not reached"
    elif decision.get("retry"):
        then = f"retry in {durations.show(decision.get('delay_seconds') or 0.0)}"
    cells = [
        decision.get("attempt"),
        decision.get("reason"),
        decision.get("exit_code"),
        decision.get("charged_to"),
        then,
        decision.get("memory") if decision.get("reached", True) else None,
        decision.get("why") if decision.get("reached", True) else None,
    ]
    return ["" if cell is None else text.line(cell) for cell in cells]


def _summary(one: Simulation) -> str:
    who = f"job {text.line(one.job_id)}" if one.job_id else "the policy"
    made = f"{one.attempts} of {len(one.decisions)} attempts, {durations.show(one.waited_seconds)} of waiting"
    if not one.decisions:
        return f"kjr: {who}: no attempt has ended"
    if one.outcome == "open":
        return f"kjr: {who}: {made}; then another attempt, whose outcome is unknown"
    return f"kjr: {who}: {text.line(one.outcome)} after {made}"
