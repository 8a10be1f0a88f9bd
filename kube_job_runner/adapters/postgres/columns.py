"""Sets of columns: name, SQL type, and the field of the domain type that each column holds.

A set owns the order of its columns. The lists in the SQL text, the parameters of a statement and the readers of rows are all
made from it. So two columns cannot be swapped in one of them.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Generic, Protocol, TypeVar

import msgspec

T = TypeVar("T")

_MARKER = re.compile(r"\{(\w+)\.(\w+)(?::(\w+))?\}")
_PARAMETER = re.compile(r"\$(\d+)")


class Row(Protocol):
    """A row, by column name."""

    def __getitem__(self, column: str, /) -> Any: ...


class Column(msgspec.Struct, frozen=True):
    """One column. `field` is the attribute that it holds, by default the one of its name.

    `encode` turns the value of the field into a parameter, `decode` turns the value of the column into that of the field. None
    leaves the value as it is. A column of the primary key (`key`) is never updated.
    """

    name: str
    sql_type: str
    field: str = ""
    encode: Callable[[Any], Any] | None = None
    decode: Callable[[Any], Any] | None = None
    key: bool = False

    @property
    def attribute(self) -> str:
        return self.field or self.name

    def encoded(self, values: list[Any]) -> list[Any]:
        """Return the values of a field as an array parameter."""
        return values if self.encode is None else list(map(self.encode, values))

    def folded(self, values: list[Any]) -> tuple[Any, list[Any]]:
        """Return a parameter for the value that all rows share, and an array parameter for values that differ.

        One of the two is empty. `unnest` pads an empty array with NULL, and `filled` replaces NULL with the shared value. It
        halves the cost of a submit, where most columns are shared.
        """
        if values and values[0] is not None and values.count(values[0]) == len(values):
            return self.encoded(values[:1])[0], []
        return None, self.encoded(values)


class Columns(Generic[T]):
    """Columns in their order, of rows that hold a `T`."""

    def __init__(self, *columns: Column) -> None:
        self.columns = columns
        self._takers: list[Callable[[Sequence[T]], list[Any]]] = [
            _compiled(f"lambda items: [item.{column.attribute} for item in items]") for column in columns
        ]

    def only(self, *names: str) -> Columns[T]:
        """Return the columns of these names, in this order."""
        by_name = {column.name: column for column in self.columns}
        return Columns(*(by_name[name] for name in names))

    def encode(self, items: Sequence[T]) -> list[list[Any]]:
        """Return the parameters for `arrays`: the values of each column."""
        return [column.encoded(take(items)) for column, take in zip(self.columns, self._takers, strict=True)]

    def encode_folded(self, items: Sequence[T]) -> tuple[list[Any], list[list[Any]]]:
        """Return the parameters for `filled` and those for `arrays`."""
        folded = [column.folded(take(items)) for column, take in zip(self.columns, self._takers, strict=True)]
        return [shared for shared, _ in folded], [values for _, values in folded]

    def reader(self, type_: type[T], *, prefix: str = "", **others: Callable[[Row], Any]) -> Callable[[Row], T]:
        """Return a function that makes a `type_` from a row, whose columns may have a prefix.

        `others` make the fields that consist of several columns. Each is called with the whole row.
        """
        scope: dict[str, Any] = {"type_": type_}
        parts = []
        for column in self.columns:
            value = f"row[{prefix + column.name!r}]"
            if column.decode is not None:
                scope[f"decode_{column.name}"] = column.decode
                value = f"decode_{column.name}({value})"
            parts.append(f"{column.attribute}={value}")
        for field, make in others.items():
            scope[f"make_{field}"] = make
            parts.append(f"{field}=make_{field}(row)")
        read: Callable[[Row], T] = _compiled(f"lambda row: type_({', '.join(parts)})", **scope)
        return read


def _compiled(source: str, **scope: Any) -> Any:
    """Return the function of a source text that is made of our own names, as `dataclasses` does it: once, for speed."""
    return eval(source, scope)  # noqa: S307


class _Text:
    """One statement while its markers are replaced. It numbers the parameters."""

    def __init__(self, statement: str, sets: Mapping[str, Columns[Any]]) -> None:
        self._sets = sets
        self._number = max(map(int, _PARAMETER.findall(statement)), default=0)

    def _next(self) -> str:
        self._number += 1
        return f"${self._number}"

    def expand(self, marker: re.Match[str]) -> str:
        """Return the list for a marker."""
        columns, alias = self._sets[marker[1]].columns, marker[3]
        match marker[2]:
            case "names":
                parts = [column.name for column in columns]
            case "of":
                parts = [f"{alias}.{column.name}" for column in columns]
            case "arrays":
                parts = [f"{self._next()}::{column.sql_type}[]" for column in columns]
            case "filled":
                parts = [f"coalesce({c.name}, {self._next()}::{c.sql_type}) AS {c.name}" for c in columns]
            case "set":
                parts = [f"{column.name} = {alias}.{column.name}" for column in columns if not column.key]
            case "prefixed":
                parts = [f"{alias}.{column.name} AS {alias}_{column.name}" for column in columns]
            case other:
                raise ValueError(f"unknown list {other!r} in {marker[0]}")
        return ", ".join(parts)


def expand(statement: str, sets: Mapping[str, Columns[Any]]) -> str:
    """Return a statement with each marker replaced by a list of columns.

    | marker | list |
    |---|---|
    | `{SET.names}` | the names |
    | `{SET.of:ALIAS}` | `ALIAS.name` for each column |
    | `{SET.arrays}` | one array parameter per column, for `unnest` |
    | `{SET.filled}` | the columns, with NULL replaced by one parameter per column |
    | `{SET.set:ALIAS}` | `name = ALIAS.name` for each column that is not part of the key |
    | `{SET.prefixed:ALIAS}` | `ALIAS.name AS ALIAS_name` |

    The parameters get the numbers after the highest one in the statement itself, in the order of the markers.

    Raises:
        KeyError: there is no such set.
        ValueError: there is no such list.
    """
    return _MARKER.sub(_Text(statement, sets).expand, statement)
