"""Lays a table out for a width: every cell is read whole, or visibly shortened, and no column vanishes without a word.

The steps are taken in this order, each only when the table is still too wide:

1. Columns that say nothing are left out: all cells are empty or the usual value (`Column.usual`).
2. Cells of columns with `least` are shortened in their middle, which keeps the end of a name, or wrapped between words.
3. Columns with `rank` are left out, the highest first. The caller says which.
4. The rows are written one below the other, a line for each cell.
"""

import textwrap
import unicodedata
from collections.abc import Sequence
from typing import NamedTuple

from kube_job_runner.cli.terminal import tables
from kube_job_runner.cli.terminal.tables import Column

GAP = "  "
_SHORTENED = "…"
_TITLE_OF_A_CELL_MAX = 14
_BESIDE_LEAST = 40
"""A text with less room beside the other columns is written below them."""
_INDENT = "    "


class Laid(NamedTuple):
    """A table as lines, and the titles of the columns that did not fit."""

    header: str
    rows: list[list[str]]
    """The lines of each row: one, or more when words are wrapped."""
    hidden: list[str]


def lay_out(columns: Sequence[Column], rows: Sequence[Sequence[str]], width: int, *, whole: bool = False) -> Laid:
    """Return the table as lines of at most `width` terminal columns. Cells are single lines that are safe for a terminal.

    With `whole` no column is left out and no cell is shortened; then the rows are written one below the other if need be.
    """
    shown, hidden = list(range(len(columns))), []
    least = [_least(column, [row[at] for row in rows], whole=whole) for at, column in enumerate(columns)]
    if not _fits(columns, rows, shown, width) and not whole:
        shown = [at for at in shown if not _says_nothing(columns[at], [row[at] for row in rows])] or shown[:1]
    while _total([least[at] for at in shown]) > width:
        at = max(shown, key=lambda at: columns[at].rank)
        if whole or not columns[at].rank:
            return _blocks(columns, rows, width)
        shown.remove(at)
        hidden.append(columns[at].title)
    return _table(columns, rows, shown, _widths(columns, rows, shown, least, width), hidden)


def _natural(column: Column, cells: Sequence[str]) -> int:
    return max(cell_width(column.title), *(cell_width(cell) for cell in cells), 0)


def _least(column: Column, cells: Sequence[str], *, whole: bool) -> int:
    natural = _natural(column, cells)
    return (
        natural
        if not column.least or (whole and not column.wraps)
        else min(natural, max(column.least, len(column.title)))
    )


def _total(widths: Sequence[int]) -> int:
    return sum(widths) + len(GAP) * (len(widths) - 1)


def _fits(columns: Sequence[Column], rows: Sequence[Sequence[str]], shown: Sequence[int], width: int) -> bool:
    return _total([_natural(columns[at], [row[at] for row in rows]) for at in shown]) <= width


def _says_nothing(column: Column, cells: Sequence[str]) -> bool:
    return column.usual is not None and all(cell in ("", column.usual) for cell in cells)


def _widths(
    columns: Sequence[Column], rows: Sequence[Sequence[str]], shown: Sequence[int], least: Sequence[int], width: int
) -> list[int]:
    """Return the width of each shown column: the space that is left goes to the columns that need it, from the left."""
    widths = [least[at] for at in shown]
    spare = width - _total(widths)
    for place, at in enumerate(shown):
        more = min(spare, _natural(columns[at], [row[at] for row in rows]) - widths[place])
        widths[place] += more
        spare -= more
    return widths


def _table(
    columns: Sequence[Column],
    rows: Sequence[Sequence[str]],
    shown: Sequence[int],
    widths: Sequence[int],
    hidden: Sequence[str],
) -> Laid:
    kept = [columns[at] for at in shown]
    last = shown[-1]
    if (
        kept[-1].wraps
        and len(kept) > 1
        and widths[-1] < min(_BESIDE_LEAST, _natural(kept[-1], [row[last] for row in rows]))
    ):
        table = _table(columns, rows, shown[:-1], widths[:-1], hidden)
        room = max(8, sum(widths) + len(GAP) * (len(widths) - 1) - len(_INDENT))
        below = [[_INDENT + part for part in wrapped(row[last], room) if part] for row in rows]
        return table._replace(rows=[[*lines, *more] for lines, more in zip(table.rows, below, strict=True)])
    header = aligned([column.title for column in kept], widths, kept)
    lines = []
    for row in rows:
        cells = [
            wrapped(row[at], width) if columns[at].wraps else [shortened(row[at], width)]
            for at, width in zip(shown, widths, strict=True)
        ]
        height = max(len(parts) for parts in cells)
        filled = [[*parts, *[""] * (height - len(parts))] for parts in cells]
        lines.append([aligned([parts[at] for parts in filled], widths, kept) for at in range(height)])
    return Laid(header=header, rows=lines, hidden=list(hidden))


def _blocks(columns: Sequence[Column], rows: Sequence[Sequence[str]], width: int) -> Laid:
    """Return the rows one below the other: a line `TITLE  cell` for each cell that holds something."""
    titles = min(_TITLE_OF_A_CELL_MAX, max(len(column.title) for column in columns))
    indent = " " * (titles + len(GAP))
    rest = max(8, width - len(indent))
    blocks = []
    for row in rows:
        block = []
        for column, cell in zip(columns, row, strict=True):
            for number, part in enumerate(wrapped(cell, rest) if cell else []):
                block.append((column.title.ljust(titles) + GAP if number == 0 else indent) + part)
        blocks.append([*block, ""])
    return Laid(header="", rows=blocks, hidden=[])


def aligned(row: Sequence[str], widths: Sequence[int], columns: Sequence[Column]) -> str:
    """Return the cells of a row as one line of text."""
    padded = []
    for cell, width, column in zip(row, widths, columns, strict=True):
        fill = " " * (width - cell_width(cell))
        padded.append(fill + cell if column.right else cell + fill)
    return GAP.join(padded).rstrip()


def cell_width(text: str) -> int:
    """Return how many columns of a terminal a text takes (East Asian Width, Unicode annex 11)."""
    if text.isascii():
        return len(text)
    return sum(
        0 if unicodedata.combining(character) else 2 if unicodedata.east_asian_width(character) in "WF" else 1
        for character in text
    )


def shortened(text: str, width: int) -> str:
    """Return a text of at most this width; what is left out of its middle is shown as `…`."""
    if cell_width(text) <= width:
        return text
    tail = _fitting(text[::-1], (width - 1) // 2)[::-1]
    return _fitting(text, width - 1 - cell_width(tail)) + (tables.icon(_SHORTENED) or "~") + tail


def _fitting(text: str, width: int) -> str:
    """Return the longest beginning of a text that is at most so wide."""
    used = 0
    for at, character in enumerate(text):
        used += cell_width(character)
        if used > width:
            return text[:at]
    return text


def wrapped(text: str, width: int) -> list[str]:
    """Return the lines of a text that is wrapped between words; a longer word is cut."""
    return textwrap.wrap(text, width, break_on_hyphens=False) or [""]
