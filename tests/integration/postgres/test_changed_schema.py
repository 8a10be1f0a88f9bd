"""Compatible migrations under warm connections: what was prepared before goes on working, and no component ends."""

from __future__ import annotations

import asyncio
from uuid import UUID

import asyncpg
import pytest

from kube_job_runner.adapters import postgres
from kube_job_runner.adapters.postgres import statements
from kube_job_runner.adapters.postgres.grants import TABLES
from kube_job_runner.adapters.postgres.pool import Connection
from kube_job_runner.adapters.simulated import SimulatedCluster
from kube_job_runner.adapters.simulated.script import Script
from kube_job_runner.domain.decide.ruleset import Rules
from kube_job_runner.domain.limits import AdmissionLimits
from kube_job_runner.domain.states import State
from kube_job_runner.ports import JobFilter
from tests.support.clocks import SystemClock
from tests.support.postgres import execute, make_submission, store_jobs
from tests.support.rig import Rig

pytestmark = pytest.mark.asyncio

FILES = (
    "doctor",
    "health",
    "leases",
    "logs",
    "observe",
    "process",
    "queue",
    "read",
    "reconcile",
    "submit",
    "sweep",
    "tokens",
)
NEW_COLUMNS = [f"ALTER TABLE {table} ADD COLUMN a_new_one text NOT NULL DEFAULT ''" for table in TABLES]


async def _results(connection: asyncpg.Connection) -> dict[str, list[tuple[str, int]]]:
    found = {}
    for file in FILES:
        for name, text in statements.load(file).items():
            prepared = await connection.prepare(text)
            found[f"{file}.{name}"] = [(one.name, one.type.oid) for one in prepared.get_attributes()]
    return found


async def test_a_new_column_changes_the_result_of_no_statement(database_url: str) -> None:
    connection = await asyncpg.connect(database_url, statement_cache_size=0)
    before = await _results(connection)
    for statement in NEW_COLUMNS:
        await connection.execute(statement)
    assert await _results(connection) == before
    await connection.close()


async def test_a_transaction_that_met_a_change_of_a_type_runs_again(pg: postgres.Postgres, database_url: str) -> None:
    """A new type changes the result even of a statement that names its columns."""
    tries: list[None] = []

    async def read(connection: Connection) -> list[asyncpg.Record]:
        tries.append(None)
        return list(await connection.fetch("SELECT explanation FROM jobs"))

    (job,) = await store_jobs(pg, make_submission())
    await pg.pool.run(read, transaction=True)
    await execute(database_url, "ALTER TABLE jobs ALTER COLUMN explanation TYPE varchar")
    tries.clear()
    assert len(await pg.pool.run(read, transaction=True)) == 1
    assert len(tries) == 2, "the first met the plan of before"
    assert await pg.submit_store.request_cancel(job.id, by="", reason="") is not None


async def test_the_product_goes_on(database_url: str) -> None:
    pg = await postgres.connect(database_url, pool_size=2, acquire_seconds=20, poll_seconds=0.05)
    cluster = SimulatedCluster(clock=SystemClock(), script_for=lambda _: Script(run_seconds=None, log=b"on\n"))
    cluster.start()
    async with Rig(pg, cluster, rules=Rules(cleanup_delay_seconds=0), follow_after_seconds=0.0).running() as rig:
        await _everything(rig)
        for change in NEW_COLUMNS:
            await execute(database_url, change)
        await _everything(rig)
        ended = [task for task in rig._tasks if task.done() and (task.cancelled() or task.exception() is not None)]
        assert ended == [], "no component ends"
    await cluster.close()
    await pg.close()


async def _everything(rig: Rig) -> None:
    """Submit, run, list, cancel, and read the log: each statement of the flow, on each connection of the pool."""
    ids = await rig.submit(4)
    for job_id in ids:
        await rig.until_state(job_id, State.RUNNING)
    jobs, pg = rig.pg.job_reader, rig.pg
    await asyncio.gather(*(_read(rig, job_id) for job_id in ids))
    await asyncio.gather(*(pg.submit_store.request_cancel(one, by="", reason="", grace_seconds=0) for one in ids))
    for job_id in ids:
        assert (await rig.until_state(job_id)).state is State.CANCELLED
        await rig.until_logged(job_id)
        assert await rig.read(job_id) == b"on\n"
    assert len(await jobs.list_jobs(JobFilter(states=(State.CANCELLED, State.FAILED), limit=9))) >= 4


async def _read(rig: Rig, job_id: UUID) -> None:
    jobs = rig.pg.job_reader
    await jobs.get_job(job_id)
    await jobs.list_attempts(job_id)
    await jobs.list_transitions(job_id)
    await jobs.list_anomalies(job_id)
    await jobs.queue_standing(job_id, AdmissionLimits())
    await rig.pg.token_store.list_tokens()
    await rig.pg.health.check()
