"""Parts of tables: columns, and states with icon, word and colour."""

import sys
from collections.abc import Sequence
from typing import Any, NamedTuple

from kube_job_runner.cli.terminal import text

_STATES = {
    "queued": ("○", "bright_black"),
    "starting": ("◔", "cyan"),
    "running": ("●", "blue"),
    "stopping": ("◌", "yellow"),
    "succeeded": ("✓", "green"),
    "failed": ("✗", "red"),
    "cancelled": ("⊘", "magenta"),
}
_UNKNOWN = ("?", "white")


class Column(NamedTuple):
    """A column of a table. `right` aligns its cells to the right, as for numbers."""

    title: str
    right: bool


def columns(*titles: str) -> list[Column]:
    """Return columns. `>` before a title aligns its cells to the right."""
    return [Column(title.removeprefix(">"), title.startswith(">")) for title in titles]


def cells(*values: Any) -> list[str]:
    """Return values as cells that are safe for a terminal. None is an empty cell."""
    return ["" if value is None else text.line(value) for value in values]


def aligned(row: Sequence[str], widths: Sequence[int], columns: Sequence[Column]) -> str:
    """Return the cells of a row as one line of text."""
    return "  ".join(
        cell.rjust(width) if column.right else cell.ljust(width)
        for cell, width, column in zip(row, widths, columns, strict=True)
    ).rstrip()


def state_words(state: str) -> str:
    """Return a state as icon and word, because colour alone is not enough."""
    return f"{icon(_STATES.get(state, _UNKNOWN)[0])} {text.line(state)}".strip()


def icon(character: str) -> str:
    """Return an icon, or nothing if stdout cannot show it."""
    encoding = (getattr(sys.stdout, "encoding", None) or "ascii").lower()
    return character if encoding.startswith("utf") else ""


def state_color(state: str) -> str:
    return _STATES.get(state, _UNKNOWN)[1]
