"""Reads: what the web server shows. Every list is a keyset page; nothing is counted."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection
from typing import Any
from uuid import UUID

from kube_job_runner import ports
from kube_job_runner.adapters.postgres import rows, statements
from kube_job_runner.adapters.postgres.pool import Pool
from kube_job_runner.domain.job import Attempt, Job, Transition

_MARKER = "/* filters */"

_SQL = statements.load("read")


class ReadPart:
    """The `JobReader` port."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def get_job(self, job_id: UUID) -> Job | None:
        """See `ports.JobReader.get_job`."""
        row = await self._pool.fetchrow(_SQL["get_job"], job_id)
        return None if row is None else rows.job(row)

    async def get_spec(self, job_id: UUID) -> bytes | None:
        """See `ports.JobReader.get_spec`."""
        row = await self._pool.fetchrow(_SQL["get_spec"], job_id)
        return None if row is None else bytes(row["spec"])

    async def list_jobs(self, query: ports.JobFilter) -> list[Job]:
        """See `ports.JobReader.list_jobs`."""
        statement, arguments = list_statement(_SQL["list_jobs"], query)
        return [rows.job(row) for row in await self._pool.fetch(statement, *arguments)]

    async def list_attempts(self, job_id: UUID) -> list[Attempt]:
        """See `ports.JobReader.list_attempts`."""
        return [rows.attempt(row) for row in await self._pool.fetch(_SQL["list_attempts"], job_id)]

    async def list_transitions(self, job_id: UUID) -> list[Transition]:
        """See `ports.JobReader.list_transitions`."""
        return [rows.transition(row) for row in await self._pool.fetch(_SQL["list_transitions"], job_id)]

    async def versions(self, job_ids: Collection[UUID]) -> dict[UUID, int]:
        """See `ports.JobReader.versions`."""
        found = await self._pool.fetch(_SQL["versions"], list(job_ids))
        return {rows.plain_uuid(row["id"]): row["version"] for row in found}


def list_statement(template: str, query: ports.JobFilter) -> tuple[str, list[Any]]:
    """Return the statement of a list: fixed fragments put together, every value a parameter."""
    arguments: list[Any] = [query.limit]
    fragments: list[str] = []

    def parameter(value: Any) -> str:
        arguments.append(value)
        return f"${len(arguments)}"

    if query.states:
        fragments.append(f"state = ANY({parameter([state.value for state in query.states])}::text[])")
    for column, value in (("queue", query.queue), ("name", query.name), ("owner", query.owner)):
        if value is not None:
            fragments.append(f"{column} = {parameter(value)}")
    if query.created_after is not None:
        fragments.append(f"created_at >= {parameter(query.created_after)}")
    if query.created_before is not None:
        fragments.append(f"created_at < {parameter(query.created_before)}")
    if query.before_id is not None:
        fragments.append(f"id < {parameter(query.before_id)}")
    fragments += [_label(requirement, parameter) for requirement in query.labels]
    filters = "".join(f" AND {fragment}" for fragment in fragments)
    return template.replace(_MARKER, filters), arguments


def _label(requirement: tuple[str, str, tuple[str, ...]], parameter: Callable[[Any], str]) -> str:
    """Return the fragment of one requirement, in the meaning of Kubernetes: `notin` holds where the label is missing."""
    key, operator, values = requirement
    if operator == "exists":
        return f"(labels <> '{{}}' AND labels ? {parameter(key)})"
    if operator == "!exists":
        return f"NOT labels ? {parameter(key)}"
    if operator == "in" and len(values) == 1:
        return f"(labels <> '{{}}' AND labels @> {parameter(json.dumps({key: values[0]}))}::jsonb)"
    if operator == "in":
        name = parameter(key)
        return f"(labels <> '{{}}' AND labels ? {name} AND labels ->> {name} = ANY({parameter(list(values))}::text[]))"
    name = parameter(key)
    return f"(NOT labels ? {name} OR labels ->> {name} <> ALL({parameter(list(values))}::text[]))"
