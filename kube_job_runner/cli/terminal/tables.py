"""Parts of tables: columns, and states with icon, word and colour."""

from __future__ import annotations

import sys
from typing import NamedTuple

from kube_job_runner.cli.terminal import text

_ICONS = {
    "queued": "○",
    "starting": "◔",
    "running": "●",
    "stopping": "◌",
    "succeeded": "✓",
    "failed": "✗",
    "cancelled": "⊘",
}
_COLORS = {
    "queued": "bright_black",
    "starting": "cyan",
    "running": "blue",
    "stopping": "yellow",
    "succeeded": "green",
    "failed": "red",
    "cancelled": "magenta",
}


class Column(NamedTuple):
    """A column of a table. `right` aligns its cells to the right, as for numbers."""

    title: str
    right: bool = False


def state_words(state: str) -> str:
    """Return a state as icon and word, because colour alone is not enough."""
    return f"{icon(_ICONS.get(state, '?'))} {text.line(state)}".strip()


def icon(character: str) -> str:
    """Return an icon, or nothing if stdout cannot show it."""
    encoding = (getattr(sys.stdout, "encoding", None) or "ascii").lower()
    return character if encoding.startswith("utf") else ""


def state_color(state: str) -> str:
    """Return the colour of a state."""
    return _COLORS.get(state, "white")
