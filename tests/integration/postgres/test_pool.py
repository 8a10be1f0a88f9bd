"""Failures of the database and of callers: the reported error, no leaks, and recovery."""

from __future__ import annotations

import asyncio
import contextlib

import asyncpg
import pytest

from kube_job_runner.adapters import postgres
from kube_job_runner.adapters.postgres.pool import Connection, open_pool
from kube_job_runner.adapters.postgres.stores.job_reader import LISTS_AT_ONCE, PostgresJobReader
from kube_job_runner.domain.errors import ConfigurationError, DatabaseUnavailable, PermanentError, TemporaryError
from kube_job_runner.domain.states import State
from kube_job_runner.ports import JobFilter
from tests.support.postgres import execute, fetch, make_change, make_submission, store_jobs, until

pytestmark = pytest.mark.asyncio

KILL_ALL = """
SELECT pg_terminate_backend(pid) FROM pg_stat_activity
WHERE datname = current_database() AND pid <> pg_backend_pid()"""
BUSY = """
SELECT pid FROM pg_stat_activity
WHERE datname = current_database() AND pid <> pg_backend_pid() AND state <> 'idle'"""


async def works(pg: postgres.Postgres) -> bool:
    """Whether a write succeeds."""
    try:
        await pg.submit_store.insert_jobs([make_submission()])
    except TemporaryError:
        return False
    return True


async def test_a_connection_killed_in_mid_transaction(pg: postgres.Postgres, database_url: str) -> None:
    (job,) = await store_jobs(pg, make_submission())
    blocker = await asyncpg.connect(database_url)
    async with blocker.transaction():
        await blocker.execute("SELECT FROM jobs FOR UPDATE")
        commit = asyncio.create_task(pg.process_store.commit([make_change(job, State.STARTING)], receipts={}))
        waiting = await until(
            lambda: fetch(database_url, BUSY + " AND wait_event_type = 'Lock'"), what="the commit waits for the row"
        )
        await execute(database_url, f"SELECT pg_terminate_backend({waiting[0]['pid']})")
        with pytest.raises(DatabaseUnavailable):
            await commit
    await blocker.close()
    assert await pg.job_reader.get_job(job.id) == job
    assert await pg.process_store.commit([make_change(job, State.STARTING)], receipts={}) == {job.id}


async def test_a_connection_that_ended_under_the_work_is_no_error_of_its_own(pg: postgres.Postgres) -> None:
    """The pool takes such a connection back by itself; what broke must not be hidden behind that."""

    async def work(connection: Connection) -> None:
        with contextlib.suppress(asyncpg.PostgresError, OSError):
            await connection.execute("SELECT pg_terminate_backend(pg_backend_pid())")
        raise DatabaseUnavailable("what broke")

    with pytest.raises(DatabaseUnavailable, match="what broke"):
        await pg.pool.run(work)
    assert await works(pg)


async def test_all_connections_killed_then_service_again(pg: postgres.Postgres, database_url: str) -> None:
    await asyncio.gather(*(pg.job_reader.list_jobs(JobFilter()) for _ in range(8)))
    await execute(database_url, KILL_ALL)

    async def recovered() -> bool:
        return await works(pg)

    await until(recovered, what="writes succeed again")
    answers = await asyncio.gather(*(works(pg) for _ in range(20)))
    assert all(answers)
    assert await pg.health.check() == {"database": None, "schema": None}


async def test_a_demoted_server_is_left(pg: postgres.Postgres, database_url: str) -> None:
    """F64: after a failover the old primary answers reads and `SELECT 1`, and refuses writes."""
    name = (await fetch(database_url, "SELECT current_database()"))[0][0]
    await asyncio.gather(*(pg.job_reader.list_jobs(JobFilter()) for _ in range(8)))
    await execute(database_url, f"ALTER DATABASE {name} SET default_transaction_read_only = on", KILL_ALL)

    async def refused() -> bool:
        try:
            await pg.submit_store.insert_jobs([make_submission()])
        except DatabaseUnavailable as error:
            return "25006" in str(error)
        return False

    await until(refused, what="writes are refused as unavailable")
    problem = (await pg.health.check())["database"]
    assert problem is not None
    assert "read-only" in problem
    await asyncio.gather(
        *(pg.job_reader.list_jobs(JobFilter()) for _ in range(8))
    )  # fills the pool with demoted connections
    await _promote(database_url, name)
    await works(pg)  # one refusal may be needed to notice; after it, no connection of before is used again
    assert all(await asyncio.gather(*(works(pg) for _ in range(8))))
    assert await pg.health.check() == {"database": None, "schema": None}


async def _promote(url: str, name: str) -> None:
    connection = await asyncpg.connect(url)
    try:
        await connection.execute("SET default_transaction_read_only = off")
        await connection.execute(f"ALTER DATABASE {name} RESET default_transaction_read_only")
    finally:
        await connection.close()


async def test_a_cancelled_caller_neither_leaks_a_connection_nor_loses_a_commit(database_url: str) -> None:
    pg = await postgres.connect(database_url, pool_size=2, acquire_seconds=10)
    batches = [[make_submission() for _ in range(20)] for _ in range(60)]
    for number, batch in enumerate(batches):
        task = asyncio.create_task(pg.submit_store.insert_jobs(batch))
        for _ in range(number % 12):
            await asyncio.sleep(0)
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
    # Both connections can still be had at once, and no transaction is left open.
    assert len(await asyncio.gather(*(pg.job_reader.list_jobs(JobFilter()) for _ in range(2)))) == 2
    await pg.close()
    assert await fetch(database_url, BUSY) == []
    for batch in batches:
        ids = [submission.job.id for submission in batch]
        stored = (await fetch(database_url, "SELECT count(*) FROM jobs WHERE id = ANY($1::uuid[])", ids))[0][0]
        assert stored in (0, 20)


async def test_a_begun_commit_ends_although_its_caller_is_cancelled(pg: postgres.Postgres, database_url: str) -> None:
    (job,) = await store_jobs(pg, make_submission())
    blocker = await asyncpg.connect(database_url)
    async with blocker.transaction():
        await blocker.execute("SELECT FROM jobs FOR UPDATE")
        commit = asyncio.create_task(pg.process_store.commit([make_change(job, State.STARTING)], receipts={}))
        await until(lambda: fetch(database_url, BUSY + " AND wait_event_type = 'Lock'"), what="the commit waits")
        commit.cancel()
        with pytest.raises(asyncio.CancelledError):
            await commit
    await blocker.close()

    async def applied() -> bool:
        return (await pg.job_reader.versions([job.id])) == {job.id: 2}

    await until(applied, what="the commit is there")


async def test_closing_waits_for_what_is_in_flight(database_url: str) -> None:
    pg = await postgres.connect(database_url, pool_size=2)
    batch = [make_submission() for _ in range(50)]
    task = asyncio.create_task(pg.submit_store.insert_jobs(batch))
    for _ in range(6):
        await asyncio.sleep(0)
    task.cancel()
    await pg.close()
    stored = (await fetch(database_url, "SELECT count(*) FROM jobs"))[0][0]
    assert stored in (0, 50)
    assert await fetch(database_url, BUSY) == []


async def test_waiting_for_a_connection_is_bounded_and_health_is_apart(database_url: str) -> None:
    """F66."""
    pg = await postgres.connect(database_url, pool_size=1, acquire_seconds=0.05)
    holding, release = asyncio.Event(), asyncio.Event()

    async def hold(connection: Connection) -> None:
        holding.set()
        await release.wait()

    holder = asyncio.create_task(pg.pool.run(hold))
    await holding.wait()
    with pytest.raises(DatabaseUnavailable, match="no database connection was free"):
        await pg.job_reader.list_jobs(JobFilter())
    assert await pg.health.check() == {"database": None, "schema": None}
    release.set()
    await holder
    assert await pg.job_reader.list_jobs(JobFilter()) == []
    await pg.close()


async def test_a_slow_statement_is_given_up(database_url: str) -> None:
    pool = await open_pool(database_url, size=1, statement_seconds=0.05)
    with pytest.raises(TemporaryError, match="57014"):
        await pool.fetch("SELECT pg_sleep(30)")
    assert (await pool.fetch("SELECT 1"))[0][0] == 1
    await pool.close()


async def test_a_lost_deadlock_runs_again(pg: postgres.Postgres, database_url: str) -> None:
    """F68: two transactions that lock two rows in opposite order; PostgreSQL ends one, and both succeed at last."""
    first, second = await store_jobs(pg, make_submission(), make_submission())
    tries = 0
    meeting = asyncio.Barrier(2)

    def locking(*ids: object) -> object:
        async def work(connection: Connection) -> None:
            nonlocal tries
            tries += 1
            await connection.execute("SET LOCAL deadlock_timeout = '20ms'")
            await connection.execute("SELECT FROM jobs WHERE id = $1 FOR UPDATE", ids[0])
            if tries <= 2:
                await meeting.wait()
            await connection.execute("SELECT FROM jobs WHERE id = $1 FOR UPDATE", ids[1])

        return pg.pool.run(work, transaction=True)

    await asyncio.gather(locking(first.id, second.id), locking(second.id, first.id))  # type: ignore[call-overload]
    assert tries == 3


async def test_a_refused_statement_is_permanent_and_keeps_the_connection(database_url: str) -> None:
    pool = await open_pool(database_url, size=1)
    pid = (await pool.fetch("SELECT pg_backend_pid()"))[0][0]
    with pytest.raises(PermanentError, match="22012"):
        await pool.fetch("SELECT 1 / 0")
    with pytest.raises(PermanentError):
        await pool.fetch("SELECT $1::int", "not a number")
    assert (await pool.fetch("SELECT pg_backend_pid()"))[0][0] == pid
    await pool.close()


async def test_what_is_not_the_databases_fault_passes_through(pg: postgres.Postgres) -> None:
    async def work(_connection: Connection) -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await pg.pool.run(work, transaction=True)
    assert await works(pg)


async def test_a_wrong_url_is_a_wrong_setting(database_url: str) -> None:
    for url in ("mysql://host/db", database_url.replace("/test_", "/missing_")):
        with pytest.raises((ConfigurationError, PermanentError)):
            await postgres.connect(url, pool_size=1)


async def test_without_its_schema_the_store_says_what_to_do(empty_database_url: str) -> None:
    pg = await postgres.connect(empty_database_url, pool_size=1)
    with pytest.raises(DatabaseUnavailable, match="kjr migrate"):
        await pg.job_reader.list_jobs(JobFilter())
    await pg.close()


async def test_a_server_that_is_not_there(tmp_path: object) -> None:
    with pytest.raises(DatabaseUnavailable):
        await postgres.connect(f"postgresql://kjr@/postgres?host={tmp_path}", pool_size=1)


async def test_slow_lists_end_and_leave_connections_to_everything_else(database_url: str) -> None:
    pool = await open_pool(database_url, size=LISTS_AT_ONCE + 1)
    reader = PostgresJobReader(pool, list_seconds=0.5)
    blocker = await asyncpg.connect(database_url)
    async with blocker.transaction():
        await blocker.execute("LOCK TABLE jobs IN ACCESS EXCLUSIVE MODE")
        lists = [asyncio.create_task(reader.list_jobs(JobFilter())) for _ in range(2 * LISTS_AT_ONCE)]
        await until(
            lambda: fetch(database_url, BUSY + " AND wait_event_type = 'Lock'"), what="the lists wait for the table"
        )
        async with asyncio.timeout(0.4):
            assert await pool.fetch("SELECT 1")  # the connection that is left
        for outcome in await asyncio.gather(*lists, return_exceptions=True):
            assert isinstance(outcome, TemporaryError)
        assert await fetch(database_url, BUSY + " AND wait_event_type = 'Lock'") == []  # cancelled in the database
    await blocker.close()
    assert await reader.list_jobs(JobFilter()) == []
    await pool.close()
