"""The triggers of the database and the table of the program allow the same steps, pair by pair."""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator, Collection
from typing import Any

import asyncpg
import pytest
import pytest_asyncio

from kube_job_runner.domain.states import AFTER_COMMIT, STEPS, TERMINAL, State

pytestmark = pytest.mark.asyncio

Pair = tuple[State | None, State]
PAIRS: list[Pair] = list(itertools.product((None, *State), State))
STEP = """
INSERT INTO transitions (job_id, at, version, attempt, from_state, to_state)
VALUES (gen_random_uuid(), now(), 2, 1, $1, $2)"""
STORE = """
INSERT INTO jobs (id, created_at, due_at, version, attempt, priority, state, name, queue, namespace, owner)
VALUES (gen_random_uuid(), now(), now(), 1, 1, 0, $1, 'n', 'q', 'ns', '') RETURNING id"""
CHANGE = "UPDATE jobs SET state = $2, version = version + 1 WHERE id = $1"


@pytest_asyncio.fixture
async def connection(database_url: str) -> AsyncIterator[asyncpg.Connection[Any]]:
    connection = await asyncpg.connect(database_url)
    yield connection
    await connection.close()


async def allowed(connection: asyncpg.Connection[Any], statement: str, *arguments: object) -> bool:
    """Return whether the database takes a statement; a refusal is that of a trigger."""
    try:
        async with connection.transaction():
            await connection.execute(statement, *arguments)
    except asyncpg.CheckViolationError as error:
        return error.constraint_name not in ("transitions_legal_step", "jobs_legal_change")
    return True


def as_sql(pairs: Collection[Pair]) -> str:
    """Return pairs as a migration has them."""
    return ", ".join(sorted(f"('{old or 'new'}', '{new}')" for old, new in pairs))


async def test_the_database_allows_the_steps_of_the_table_and_no_other(connection: asyncpg.Connection[Any]) -> None:
    """Every row of the history is one step; the row of a job changes by all steps of one commit."""
    steps = {pair for pair in PAIRS if await allowed(connection, STEP, *pair)}
    changes: set[Pair] = set()
    for old, new in itertools.product(State, State):
        job_id = await connection.fetchval(STORE, old)
        if await allowed(connection, CHANGE, job_id, new) and new is not old:
            changes.add((old, new))
    legal = {(step.from_state, step.to_state) for step in STEPS}
    reached: set[Pair] = {(old, new) for old, following in AFTER_COMMIT.items() for new in following}
    assert steps == legal, f"write a migration in which transitions_legal_step lists {as_sql(legal)}"
    assert changes == reached, f"write a migration in which jobs_legal_change lists {as_sql(reached)}"


async def test_a_row_that_keeps_its_state_may_change(connection: asyncpg.Connection[Any]) -> None:
    for state in State:
        assert await allowed(connection, CHANGE, await connection.fetchval(STORE, state), state)


async def test_history_in_any_partition_is_guarded(connection: asyncpg.Connection[Any]) -> None:
    """Partitions are attached later than the trigger is made, and rows may land in the default one."""
    await connection.execute("SELECT maintain_transition_partitions(12)")
    for months in (-600, 0, 12):
        late = STEP.replace("now()", f"now() + interval '{months} months'")
        assert not await allowed(connection, late, State.QUEUED, State.RUNNING)
        assert await allowed(connection, late, State.QUEUED, State.STARTING)


async def test_history_is_not_rewritten_to_what_is_illegal(connection: asyncpg.Connection[Any]) -> None:
    await connection.execute(STEP, State.STARTING, State.RUNNING)
    for end in TERMINAL:
        assert not await allowed(connection, "UPDATE transitions SET from_state = $1, to_state = 'queued'", end)
