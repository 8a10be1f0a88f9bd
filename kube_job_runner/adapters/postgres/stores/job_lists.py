"""Lists of jobs: the SQL for a filter, made from fixed pieces. Values are always parameters.

Each requested state is one page from the index on (state, id). The pages are merged by the outer LIMIT. So a page costs the same
at any depth, even if few jobs among millions have the state.
"""

import datetime as dt
import uuid
from typing import Any

from kube_job_runner.adapters.postgres import columns, rows
from kube_job_runner.domain.states import State
from kube_job_runner.ports import JobFilter

LIMIT_MAX = 1000
_NAMES = columns.expand("{job_rows.names}", rows.SETS)
_SKEW_SECONDS = 60.0  # between the clock that made an id and `created_at`


class _Arguments:
    """Parameters, numbered in the order in which they are added."""

    def __init__(self) -> None:
        self.values: list[Any] = []

    def add(self, value: Any) -> str:
        """Add a value; return its placeholder."""
        self.values.append(value)
        return f"${len(self.values)}"


def query(wanted: JobFilter) -> tuple[str, list[Any]]:
    """Return the statement and its parameters for a filter."""
    arguments = _Arguments()
    conditions = [*_plain(wanted, arguments), *_times(wanted, arguments)]
    for key, operator, values in wanted.labels:
        conditions.append(_label(arguments, key, operator, values=values))
    states = wanted.states or ((State.FAILED,) if wanted.reason is not None else ())
    where = " AND ".join(conditions) or "true"
    limit = arguments.add(max(1, min(wanted.limit, LIMIT_MAX)))
    page = f"SELECT {_NAMES} FROM jobs WHERE {{}} ORDER BY id DESC LIMIT {{}}"  # noqa: S608
    if not states:
        return page.format(where, limit), arguments.values
    # The state is a literal, not a parameter: the index leaves out `succeeded`, and the planner must see that it applies.
    pages = [page.format(f"{where} AND state = '{state.value}'", limit) for state in dict.fromkeys(states)]
    if len(pages) == 1:
        return pages[0], arguments.values
    merged = " UNION ALL ".join(f"({part})" for part in pages)
    # Fixed pieces and placeholders only.
    return f"SELECT {_NAMES} FROM ({merged}) AS jobs ORDER BY id DESC LIMIT {limit}", arguments.values  # noqa: S608


def _plain(wanted: JobFilter, arguments: _Arguments) -> list[str]:
    conditions = []
    if wanted.queue is not None:
        conditions.append(f"queue = {arguments.add(wanted.queue)}")
    if wanted.namespace is not None:
        conditions.append(f"namespace = {arguments.add(wanted.namespace)}")
    if wanted.name is not None:
        conditions.append(f"name = {arguments.add(wanted.name)}")
    if wanted.owner is not None:
        conditions.append(f"owner = {arguments.add(wanted.owner)}")
    if wanted.reason is not None:
        conditions.append(f"reason = {arguments.add(wanted.reason)}")
    if wanted.rerun_of is not None:
        conditions.append(f"rerun_of = {arguments.add(wanted.rerun_of)}")
    if wanted.before_id is not None:
        conditions.append(f"id < {arguments.add(wanted.before_id)}")
    return conditions


def _times(wanted: JobFilter, arguments: _Arguments) -> list[str]:
    """Return conditions for a range of times, and for the range of ids around it: ids are UUIDv7, so every index can help."""
    conditions = []
    if wanted.created_after is not None:
        conditions.append(f"created_at > {arguments.add(wanted.created_after)}")
        conditions.append(f"id >= {arguments.add(_first_id(wanted.created_after, -_SKEW_SECONDS))}")
    if wanted.created_before is not None:
        conditions.append(f"created_at < {arguments.add(wanted.created_before)}")
        conditions.append(f"id < {arguments.add(_first_id(wanted.created_before, _SKEW_SECONDS))}")
    return conditions


def _first_id(at: dt.datetime, shift_seconds: float) -> uuid.UUID:
    milliseconds = int((at.timestamp() + shift_seconds) * 1000)
    return uuid.UUID(int=min(max(milliseconds, 0), (1 << 48) - 1) << 80)


def _label(arguments: _Arguments, key: str, operator: str, *, values: tuple[str, ...]) -> str:
    """Return the condition for one label requirement. As in Kubernetes, `notin` also matches jobs without the label."""
    if operator == "in":
        return _has_one_of(arguments, key, values)
    if operator == "exists":
        return f"(labels <> '{{}}' AND labels ? {arguments.add(key)})"
    if operator == "!exists":
        return f"NOT labels ? {arguments.add(key)}"
    if operator == "notin":
        return f"(labels ->> {arguments.add(key)} = ANY({arguments.add(list(values))}::text[])) IS NOT TRUE"
    raise ValueError(f"unknown label operator {operator!r}")


def _has_one_of(arguments: _Arguments, key: str, values: tuple[str, ...]) -> str:
    """Return one condition, however many values there are.

    The index supports `@>`, and its own condition is `labels <> '{}'`. A row that is read without the index is compared with
    all values at once, because PostgreSQL hashes a list of texts; it does so first, because that is cheaper.
    """
    if not values:
        return "false"
    pairs = [rows.as_json({key: value}) for value in values]
    if len(pairs) == 1:
        return f"(labels <> '{{}}' AND labels @> {arguments.add(pairs[0])}::jsonb)"
    return (
        f"(labels <> '{{}}' AND labels ->> {arguments.add(key)} = ANY({arguments.add(list(values))}::text[])"
        f" AND labels @> ANY({arguments.add(pairs)}::jsonb[]))"
    )
