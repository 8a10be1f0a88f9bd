"""Migrations: each runs once and is never edited, and an older program notices a newer schema."""

from __future__ import annotations

import asyncio
from typing import Any

import asyncpg
import msgspec
import pytest

from kube_job_runner.adapters import postgres
from kube_job_runner.adapters.postgres import schema
from kube_job_runner.adapters.postgres.schema import Migration, known, migrate
from kube_job_runner.domain.errors import ConfigurationError, DatabaseUnavailable, PermanentError
from tests.support.postgres import execute, fetch

pytestmark = pytest.mark.asyncio

ONE = Migration(number=1, name="one", sql="CREATE TABLE one (n int); INSERT INTO one VALUES (1)")
TWO = Migration(number=2, name="two", sql="-- a comment\nCREATE INDEX CONCURRENTLY two ON one (n);\n", concurrent=True)
THREE = Migration(number=3, name="three", sql="-- compatible with older programs\nALTER TABLE one ADD m int")


async def applied(url: str) -> list[tuple[Any, ...]]:
    """Return the numbers and names of the migrations recorded."""
    return [tuple(row) for row in await fetch(url, "SELECT number, name FROM schema_migrations ORDER BY number")]


async def schema_problem(url: str) -> str | None:
    """Return what the health check says of the schema."""
    pg = await postgres.connect(url, pool_size=2)
    try:
        return (await pg.health.check())["schema"]
    finally:
        await pg.close()


async def test_several_starting_at_once_apply_each_once(empty_database_url: str) -> None:
    """With an index made concurrently: waiting inside the lock would hang all of them for good."""
    done = await asyncio.gather(*(migrate(empty_database_url, migrations=(ONE, TWO, THREE)) for _ in range(3)))
    assert sorted(done) == [[], [], ["0001_one", "0002_two", "0003_three"]]
    assert await applied(empty_database_url) == [(1, "one"), (2, "two"), (3, "three")]
    assert len(await fetch(empty_database_url, "SELECT n, m FROM one")) == 1
    assert (await fetch(empty_database_url, "SELECT indisvalid FROM pg_index WHERE indexrelid = 'two'::regclass"))[0][0]


async def test_a_second_run_does_nothing(empty_database_url: str) -> None:
    assert await migrate(empty_database_url, migrations=(ONE,)) == ["0001_one"]
    assert await migrate(empty_database_url, migrations=(ONE,)) == []
    assert await migrate(empty_database_url, migrations=(ONE, TWO)) == ["0002_two"]


async def test_an_edited_migration_is_refused(empty_database_url: str) -> None:
    await migrate(empty_database_url, migrations=(ONE,))
    edited = msgspec.structs.replace(ONE, sql=ONE.sql + " ")
    with pytest.raises(ConfigurationError, match="0001 one is not the file that was applied"):
        await migrate(empty_database_url, migrations=(edited, TWO))
    assert await applied(empty_database_url) == [(1, "one")]


async def test_a_newer_schema_is_refused_unless_it_says_that_older_programs_can_go_on(empty_database_url: str) -> None:
    await migrate(empty_database_url, migrations=(ONE, TWO))
    with pytest.raises(ConfigurationError, match="newer than this program"):
        await migrate(empty_database_url, migrations=(ONE,))
    await migrate(empty_database_url, migrations=(ONE, TWO, THREE))
    assert await migrate(empty_database_url, migrations=(ONE, TWO)) == []


async def test_a_failed_migration_changes_nothing(empty_database_url: str) -> None:
    broken = Migration(number=2, name="broken", sql="CREATE TABLE half (n int); SELECT 1 / 0")
    with pytest.raises(PermanentError, match="division by zero"):
        await migrate(empty_database_url, migrations=(ONE, broken))
    assert await applied(empty_database_url) == [(1, "one")]
    assert (await fetch(empty_database_url, "SELECT to_regclass('half')"))[0][0] is None
    assert await migrate(empty_database_url, migrations=(ONE, TWO)) == ["0002_two"]


async def test_health_tells_how_the_schema_stands(database_url: str, empty_database_url: str) -> None:
    assert await schema_problem(database_url) is None
    behind = await schema_problem(empty_database_url)
    assert behind is not None
    assert "behind" in behind
    insert = "INSERT INTO schema_migrations (number, name, checksum, compatible) VALUES (9999, 'future', '', {})"
    await execute(database_url, insert.format("true"))
    assert await schema_problem(database_url) is None
    await execute(database_url, "UPDATE schema_migrations SET compatible = false WHERE number = 9999")
    newer = await schema_problem(database_url)
    assert newer is not None
    assert "newer" in newer


async def test_without_a_server_it_says_so(tmp_path: Any) -> None:
    with pytest.raises(DatabaseUnavailable):
        await migrate(f"postgresql://kjr@/postgres?host={tmp_path}")


async def test_a_database_that_is_not_there_is_a_wrong_setting(database_url: str) -> None:
    with pytest.raises(ConfigurationError, match="KJR_DATABASE_URL"):
        await migrate(database_url.replace("/test_", "/missing_"))


async def test_the_lock_is_free_afterwards(empty_database_url: str) -> None:
    await migrate(empty_database_url, migrations=(ONE,))
    connection = await asyncpg.connect(empty_database_url)
    assert await connection.fetchval("SELECT pg_try_advisory_lock($1)", schema.LOCK_KEY)
    await connection.close()


async def test_the_files_are_numbered_without_gap() -> None:
    assert [migration.number for migration in known()] == list(range(1, len(known()) + 1))
    assert all(migration.sql.startswith("-- ") for migration in known())
