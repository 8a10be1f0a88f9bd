"""Writes data to stdout: JSON, YAML, names or tables. On a terminal a table is laid out for its width."""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, NamedTuple

import click

from kube_job_runner.cli.invocation import Invocation
from kube_job_runner.cli.terminal import layout, tables, text
from kube_job_runner.cli.terminal.tables import Column
from kube_job_runner.domain import durations

if TYPE_CHECKING:
    from kube_job_runner.client import Job

SHORT_ID_LENGTH = 8


class Line(NamedTuple):
    """A line, and how it is highlighted: all of it, or only the part that `colored` names.

    On a terminal it is wrapped between words; the further lines are indented by `hang`, or by two more than the first.
    """

    content: str
    color: str | None = None
    bold: bool = False
    colored: str = ""
    hang: int | None = None


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
    """Write lines, with colour if stdout is coloured, and wrapped if it is a terminal."""
    for line in lines:
        for part in _wrapped(line) if invocation.stdout_is_terminal else [line]:
            click.echo(styled(part) if invocation.colored else part.content)


def _wrapped(line: Line) -> list[Line]:
    width = shutil.get_terminal_size().columns
    if layout.cell_width(line.content) <= width:
        return [line]
    start = line.content[: len(line.content) - len(line.content.lstrip(" "))]
    hang = min(len(start) + 2 if line.hang is None else line.hang, width // 2)
    first, rest = line.content[:hang], line.content[hang:]
    parts = layout.wrapped(rest, width - hang)
    return [line._replace(content=(" " * hang if at else first) + part) for at, part in enumerate(parts)]


def styled(line: Line) -> str:
    """Return a line with the escape sequences of its colour."""
    if line.color is None and not line.bold:
        return line.content
    before, part, after = line.content.partition(line.colored) if line.colored else ("", line.content, "")
    return before + click.style(part, fg=line.color, bold=line.bold or None) + after if part else before


def short_ids(ids: Sequence[str]) -> dict[str, str]:
    """Return the shortest unique end of each id, with at least `SHORT_ID_LENGTH` characters.

    The end of a UUIDv7 is random, its beginning is the time: jobs of the same hour share their first characters.
    """
    shown: dict[str, str] = {}
    for identity in ids:
        length = SHORT_ID_LENGTH
        while length < len(identity) and any(other != identity and other.endswith(identity[-length:]) for other in ids):
            length += 1
        shown[identity] = identity[-length:].lstrip("-")
    return shown


def run_time(job: Job, *, now: datetime | None = None) -> str:
    """Return how long a job has run so far, or ran in all."""
    if job.started_at is None:
        return ""
    end = job.finished_at or now or datetime.now(UTC)
    return durations.show((end - job.started_at).total_seconds())


def _job_columns(*, wide: bool) -> list[Column]:
    columns = [
        Column("ID"),
        Column("STATE"),
        Column("NAME", least=12, rank=1),
        Column("QUEUE", least=8, usual="default", rank=7),
        Column("REASON", usual="", rank=2),
        Column("EXIT", right=True, usual="", rank=3),
        Column("ATTEMPT", right=True, usual="1", rank=6),
        Column("AGE", right=True, rank=4),
        Column("DURATION", right=True, usual="", rank=5),
    ]
    return [*columns, Column("NAMESPACE"), Column("LABELS"), Column("EXPLANATION")] if wide else columns


def job_table(jobs: Sequence[Job], invocation: Invocation) -> tuple[list[Column], list[list[str]]]:
    """Return the columns and rows of a table of jobs. Cells are safe for a terminal; column 1 is the state."""
    wide = invocation.output == "wide"
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
    return _job_columns(wide=wide), rows


def write_table(
    columns: Sequence[Column], rows: Sequence[Sequence[str]], invocation: Invocation, *, state_column: int | None = None
) -> None:
    """Write a table: laid out for the width of a terminal, else as aligned text. Cells must be safe for a terminal."""
    if not invocation.stdout_is_terminal:
        write_aligned(columns, rows, state_column=state_column)
        return
    lines, hidden = terminal_lines(columns, rows, invocation, state_column=state_column)
    write_lines(lines, invocation)
    if hidden:
        more = "; -o wide shows all" if invocation.output == "table" else ""
        invocation.note(f"kjr: no room for {', '.join(hidden)}{more}")


def terminal_lines(
    columns: Sequence[Column], rows: Sequence[Sequence[str]], invocation: Invocation, *, state_column: int | None = None
) -> tuple[list[Line], list[str]]:
    """Return a table as lines for the terminal that stdout is, and the titles of the columns that have no room."""
    width = shutil.get_terminal_size().columns
    words = with_state_words(rows, state_column)
    laid = layout.lay_out(columns, words, width, whole=invocation.output == "wide")
    lines = [Line(laid.header, bold=True)] if laid.header else []
    for row, parts in zip(rows, laid.rows, strict=True):
        state = row[state_column] if state_column is not None else ""
        color, mark = (tables.state_color(state), tables.state_words(state)) if state else (None, "")
        lines += [Line(part, color=color, colored=mark) for part in parts]
    return lines, laid.hidden


def with_state_words(rows: Sequence[Sequence[str]], state_column: int | None) -> list[list[str]]:
    """Return rows with the icon and the word of each state."""
    return [[tables.state_words(cell) if at == state_column else cell for at, cell in enumerate(row)] for row in rows]


def write_aligned(columns: Sequence[Column], rows: Sequence[Sequence[str]], *, state_column: int | None = None) -> None:
    """Write a table as aligned text, for pipes and files. Cells are never shortened."""
    cells = with_state_words(rows, state_column)
    widths = [
        max(layout.cell_width(cell) for cell in row) for row in zip(*[[c.title for c in columns], *cells], strict=True)
    ]
    for row in [[column.title for column in columns], *cells]:
        click.echo(layout.aligned(row, widths, columns))


def write_jobs(jobs: Sequence[Job], invocation: Invocation, *, single: bool = False) -> None:
    """Write jobs in the format of the invocation."""
    if invocation.output in ("table", "wide"):
        write_table(*job_table(jobs, invocation), invocation, state_column=1)
    else:
        write_objects([job.raw for job in jobs], invocation.output, single=single)
