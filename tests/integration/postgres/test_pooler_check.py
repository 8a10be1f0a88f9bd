"""A transaction pooler is refused with one sentence, before anything is written."""

from __future__ import annotations

import asyncpg
import pytest

from kube_job_runner.adapters import postgres
from kube_job_runner.adapters.postgres import failure, pooler_check
from kube_job_runner.domain.errors import ConfigurationError
from tests.support.pooler import transaction_pooler
from tests.support.postgres import execute, fetch, with_user

pytestmark = pytest.mark.asyncio


async def test_nothing_is_migrated_through_a_transaction_pooler(empty_database_url: str) -> None:
    async with transaction_pooler(empty_database_url) as url:
        with pytest.raises(ConfigurationError, match="leads to a transaction pooler"):
            await postgres.migrate(url)
        with pytest.raises(ConfigurationError, match="leads to a transaction pooler"):
            await postgres.connect(url)
    assert await fetch(empty_database_url, "SELECT FROM pg_tables WHERE schemaname = 'public'") == []


async def test_a_server_is_not_taken_for_a_pooler(database_url: str) -> None:
    for _ in range(3):
        await pooler_check.check(database_url)


async def test_without_a_second_connection_nothing_is_found_out(database_url: str) -> None:
    name = (await fetch(database_url, "SELECT current_database()"))[0][0]
    role = f"one_{name}"
    await execute(database_url, f"CREATE ROLE {role} LOGIN CONNECTION LIMIT 1")
    try:
        await pooler_check.check(with_user(database_url, role))
    finally:
        await execute(database_url, f"DROP ROLE {role}")


async def test_a_pooler_that_refuses_our_settings_is_named() -> None:
    said = {"C": "08P01", "M": "unsupported startup parameter: statement_timeout", "S": "FATAL"}
    meaning = failure.translate(asyncpg.PostgresError.new(said))
    assert isinstance(meaning, ConfigurationError)
    assert "a pooler refuses the settings of our sessions" in str(meaning)
    assert "ignore_startup_parameters" in str(meaning)
