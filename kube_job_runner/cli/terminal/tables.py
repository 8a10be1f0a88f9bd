"""Parts of tables: columns, and states with icon, word and colour."""

import sys
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
    """A column of a table. `right` aligns its cells to the right, as for numbers.

    The rest says what may happen in a narrow terminal (`layout`): its cells may be shortened to `least`, or, with `wraps`,
    wrapped between words; it is left out when all cells are empty or `usual`; columns with the highest `rank` go first.
    """

    title: str
    right: bool = False
    least: int = 0
    wraps: bool = False
    usual: str | None = None
    rank: int = 0


def columns(*titles: str) -> list[Column]:
    """Return columns. `>` before a title aligns its cells to the right, `~` wraps their text, which is at least 16 wide."""
    return [
        Column(
            title.lstrip(">~"), right=title.startswith(">"), least=16 if title.startswith("~") else 0,
            wraps=title.startswith("~"), usual="",
        )
        for title in titles
    ]  # fmt: skip


def cells(*values: Any) -> list[str]:
    """Return values as cells that are safe for a terminal. None is an empty cell."""
    return ["" if value is None else text.line(value) for value in values]


def state_words(state: str) -> str:
    """Return a state as icon and word, because colour alone is not enough."""
    return f"{icon(_STATES.get(state, _UNKNOWN)[0])} {text.line(state)}".strip()


def icon(character: str) -> str:
    """Return an icon, or nothing if stdout cannot show it."""
    encoding = (getattr(sys.stdout, "encoding", None) or "ascii").lower()
    return character if encoding.startswith("utf") else ""


def state_color(state: str) -> str:
    return _STATES.get(state, _UNKNOWN)[1]
