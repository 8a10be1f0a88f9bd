"""What our sessions do not leave to the defaults of a server, a database or a role; and how long a lock of others holds us up."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import asyncpg
import msgspec
import pytest

from kube_job_runner.adapters import postgres
from kube_job_runner.adapters.postgres import Postgres, schema
from kube_job_runner.adapters.postgres.direct_connections import connected
from kube_job_runner.domain.limits import AdmissionLimits
from tests.support.postgres import execute, make_submission

pytestmark = pytest.mark.asyncio
SHOWN = "SELECT current_setting('synchronous_commit'), current_setting('transaction_isolation')"


async def alter(url: str, *settings: str) -> None:
    """Set defaults of the database, for the sessions that begin after this."""
    for setting in settings:
        await execute(url, f"DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET {setting}', current_database()); END $$")


async def test_a_commit_is_durable_and_a_snapshot_fresh_whatever_the_defaults_are(database_url: str) -> None:
    await alter(database_url, "synchronous_commit = off", "default_transaction_isolation = ''repeatable read''")
    pg = await postgres.connect(database_url, pool_size=1)
    try:
        assert tuple(await pg.pool.fetchrow(SHOWN) or ()) == ("on", "read committed")
    finally:
        await pg.close()
    async with connected(database_url, name="test") as connection:
        assert tuple(await connection.fetchrow(SHOWN) or ()) == ("on", "read committed")


async def test_a_stronger_commit_stays(database_url: str) -> None:
    await alter(database_url, "synchronous_commit = remote_apply")
    pg = await postgres.connect(database_url, pool_size=1)
    try:
        assert (await pg.pool.fetchrow(SHOWN) or [""])[0] == "remote_apply"
    finally:
        await pg.close()


async def test_doctor_names_a_setting_that_loses_commits(database_url: str) -> None:
    await alter(database_url, "synchronous_commit = off")
    (found,) = [result for result in await postgres.run_checks(database_url) if result.name == "database durability"]
    assert found.level == "warn"
    assert "synchronous_commit is off" in found.text


async def test_a_migration_has_timeouts_of_its_own(pg_server: Any) -> None:
    url = await asyncio.to_thread(pg_server.create_database)
    await alter(url, "statement_timeout = ''50ms''", "lock_timeout = ''1ms''")
    slow = schema.Migration(number=9999, name="slow", sql="-- compatible\nSELECT pg_sleep(0.3);")
    assert await schema.migrate(url, migrations=[*schema.known(), slow]) == ["9999_slow"]


async def test_one_frozen_transaction_holds_up_no_other_admission(pg: Postgres, database_url: str) -> None:
    """A web server that stops between two statements of a cancel."""
    submissions = [make_submission() for _ in range(50)]
    await pg.submit_store.insert_jobs(submissions)
    frozen: asyncpg.Connection[Any] = await asyncpg.connect(database_url)
    transaction = frozen.transaction()
    await transaction.start()
    await frozen.execute("UPDATE jobs SET cancel_reason = 'x' WHERE id = $1", submissions[0].job.id)
    began = time.monotonic()
    admitted = await pg.process_store.admit(AdmissionLimits(total=500), limit=200, lease_seconds=60)
    assert len(admitted.jobs) == 49
    assert time.monotonic() - began < 3
    await transaction.rollback()
    await frozen.close()
    admitted = await pg.process_store.admit(AdmissionLimits(total=500), limit=200, lease_seconds=60)
    assert list(admitted.jobs) == [submissions[0].job.id]


async def test_a_frozen_admission_is_disconnected_within_seconds(pg: Postgres, database_url: str) -> None:
    other = await postgres.connect(database_url, pool_size=1)
    await pg.submit_store.insert_jobs([make_submission()])
    locked, gate = asyncio.Event(), asyncio.Event()

    async def freeze(connection: Any) -> None:
        await connection.execute(postgres_admission_lock())
        locked.set()
        await gate.wait()

    frozen = asyncio.create_task(other.pool.run(freeze, transaction=True))
    await locked.wait()
    began = time.monotonic()
    admitted = await pg.process_store.admit(AdmissionLimits(total=500), limit=200, lease_seconds=60)
    assert len(admitted.jobs) == 1
    assert time.monotonic() - began < 5
    gate.set()
    await asyncio.wait({frozen})
    assert frozen.exception() is not None
    await other.close()


def postgres_admission_lock() -> str:
    from kube_job_runner.adapters.postgres.stores.process_store import SQL

    return SQL["lock_admissions"]


async def test_a_key_lives_as_long_as_its_job(pg: Postgres, database_url: str) -> None:
    waiting, done = (
        msgspec.structs.replace(make_submission(), idempotency_key=key, request_hash=b"h", response=b"r")
        for key in ("w", "d")
    )
    await pg.submit_store.insert_jobs([waiting, done])
    await execute(
        database_url,
        "UPDATE idempotency_keys SET created_at = now() - interval '8 days'",
        f"UPDATE jobs SET finished_at = now() - interval '6 days' WHERE id = '{done.job.id}'",
    )
    week = 7 * 86_400.0
    assert await pg.sweep_store.expire_idempotency_keys(older_than_seconds=week, limit=10) == 0
    await execute(database_url, "UPDATE jobs SET finished_at = now() - interval '8 days' WHERE finished_at IS NOT NULL")
    assert await pg.sweep_store.expire_idempotency_keys(older_than_seconds=week, limit=10) == 1
    (again,) = await pg.submit_store.insert_jobs([waiting])
    assert again.status == "replayed"
