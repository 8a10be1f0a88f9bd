"""Writes data to stdout: JSON, YAML, names or tables. Tables are drawn by rich on a terminal, else as aligned text."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, NamedTuple

import click

from kube_job_runner.cli.invocation import Invocation
from kube_job_runner.cli.terminal import tables, text
from kube_job_runner.cli.terminal.tables import Column
from kube_job_runner.domain import durations

if TYPE_CHECKING:
    from kube_job_runner.client import Job

SHORT_ID_LENGTH = 18  # a UUIDv7 up to its first random bits: 019ac7d3-5b5e-7c1a


class Line(NamedTuple):
    """A line, and how it is highlighted."""

    content: str
    color: str | None = None
    bold: bool = False


def plain(value: Any) -> Any:
    """Return a value in the types of JSON (times become strings)."""
    import msgspec

    return msgspec.to_builtins(value)


def write_json(value: Any, *, indent: int = 2) -> None:
    """Write a JSON value. `indent` 0 writes it on one line."""
    import msgspec

    encoded = msgspec.json.encode(value)
    if indent:
        encoded = msgspec.json.format(encoded, indent=indent)
    click.echo(text.json_safe(encoded.decode()))


def write_objects(objects: Sequence[dict[str, Any]], form: str, *, single: bool = False) -> None:
    """Write objects as json, jsonl, yaml, name or id. With `single`, json writes one object without a list."""
    if form == "json":
        write_json(objects[0] if single and len(objects) == 1 else list(objects))
    elif form == "jsonl":
        for item in objects:
            write_json(item, indent=0)
    elif form == "yaml":
        import yaml

        documents, several = [plain(item) for item in objects], len(objects) != 1
        click.echo(yaml.safe_dump_all(documents, sort_keys=False, explicit_start=several), nl=False)
    else:
        for item in objects:
            click.echo(text.line(item.get(form) or ""))


def write_lines(lines: Iterable[Line], invocation: Invocation) -> None:
    """Write lines, with colour if stdout is coloured."""
    for line in lines:
        click.echo(click.style(line.content, fg=line.color, bold=line.bold) if invocation.colored else line.content)


def short_ids(ids: Sequence[str]) -> dict[str, str]:
    """Return the shortest unique prefix of each id, with at least `SHORT_ID_LENGTH` characters."""
    shown: dict[str, str] = {}
    for identity in ids:
        length = SHORT_ID_LENGTH
        while length < len(identity) and any(
            other != identity and other.startswith(identity[:length]) for other in ids
        ):
            length += 1
        shown[identity] = identity[:length].rstrip("-") if length < len(identity) else identity
    return shown


def run_time(job: Job, *, now: datetime | None = None) -> str:
    """Return how long a job has run so far, or ran in all."""
    if job.started_at is None:
        return ""
    end = job.finished_at or now or datetime.now(UTC)
    return durations.show((end - job.started_at).total_seconds())


def job_table(jobs: Sequence[Job], invocation: Invocation) -> tuple[list[Column], list[list[str]]]:
    """Return the columns and rows of a table of jobs. Cells are safe for a terminal; column 1 is the state."""
    wide = invocation.output == "wide"
    columns = tables.columns("ID", "STATE", "NAME", "QUEUE", "REASON", ">EXIT", ">ATTEMPT", ">AGE", ">DURATION")
    if wide:
        columns += tables.columns("NAMESPACE", "LABELS", "EXPLANATION")
    now = datetime.now(UTC)
    ids = short_ids([job.id for job in jobs])
    rows = []
    for job in jobs:
        age = durations.show((now - job.created_at).total_seconds()) if job.created_at else ""
        took = run_time(job, now=now)
        row = [job.state, job.name, job.queue, job.reason, job.exit_code, job.attempt or None, age, took]
        if wide:
            labels = ",".join(f"{key}={value}" for key, value in job.labels.items())
            row += [job.namespace, labels, job.explanation]
        rows.append(tables.cells(job.id if wide else ids[job.id], *row))
    return columns, rows


def write_table(
    columns: Sequence[Column], rows: Sequence[Sequence[str]], invocation: Invocation, *, state_column: int | None = None
) -> None:
    """Write a table: drawn by rich on a terminal, else as aligned text. Cells must be safe for a terminal."""
    if invocation.stdout_is_terminal:
        from kube_job_runner.cli.terminal import live

        table = live.build_table(columns, rows, state_column=state_column)
        live.console(colored=invocation.colored).print(table)
    else:
        write_aligned(columns, rows, state_column=state_column)


def write_aligned(columns: Sequence[Column], rows: Sequence[Sequence[str]], *, state_column: int | None = None) -> None:
    """Write a table as aligned text, for pipes and files. Cells are never shortened."""
    cells = [[tables.state_words(cell) if at == state_column else cell for at, cell in enumerate(row)] for row in rows]
    widths = [max(len(column.title), *(len(row[at]) for row in cells), 0) for at, column in enumerate(columns)]
    for row in [[column.title for column in columns], *cells]:
        click.echo(tables.aligned(row, widths, columns))


def write_jobs(jobs: Sequence[Job], invocation: Invocation, *, single: bool = False) -> None:
    """Write jobs in the format of the invocation."""
    if invocation.output in ("table", "wide"):
        write_table(*job_table(jobs, invocation), invocation, state_column=1)
    else:
        write_objects([job.raw for job in jobs], invocation.output, single=single)
