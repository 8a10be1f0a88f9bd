"""`LogStore.claim`: what has ended is claimed at once, whoever recorded its end; what is followed, most needed first."""

from __future__ import annotations

import asyncio
import uuid
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest

from kube_job_runner.adapters.postgres import Postgres
from kube_job_runner.adapters.postgres.stores.log_store import PostgresLogStore
from kube_job_runner.domain.job import Attempt, Job
from kube_job_runner.domain.states import State
from kube_job_runner.ports import Change
from tests.support.postgres import execute, fetch, make_attempt, make_change, make_submission, store_jobs

pytestmark = pytest.mark.asyncio
NOW = datetime.now(UTC).replace(microsecond=0)
HOUR_AGO = NOW - timedelta(hours=1)


async def claim(logs: PostgresLogStore, *, ended: int = 100, follow: int = 0) -> list[uuid.UUID]:
    """Claim with a new token; return the jobs."""
    works = await logs.claim(
        token=uuid.uuid4(), lease_seconds=60, ended_limit=ended, follow_limit=follow, follow_after_seconds=600
    )
    return [work.job_id for work in works]


async def run(pg: Postgres, **fields: Any) -> tuple[Job, Attempt]:
    """Store a running job; return it with its attempt."""
    [job] = await store_jobs(pg, make_submission())
    attempt = make_attempt(job, 1, cluster_uid=f"u-{job.id}", pod_name="p", **({"started_at": HOUR_AGO} | fields))
    change = make_change(job, State.RUNNING, attempts=(attempt,))
    assert await pg.process_store.commit([change], receipts={}) == {job.id}
    return change.job, attempt


async def end(pg: Postgres, job: Job, attempt: Attempt, **fields: Any) -> None:
    """Commit the end of an attempt: decided, unless `fields` say otherwise."""
    decided = msgspec.structs.replace(attempt, **(fields or {"decided_at": NOW, "finished_at": NOW}))
    change = make_change(job, State.SUCCEEDED, attempts=(decided,))
    assert await pg.process_store.commit([change], receipts={}) == {job.id}


async def test_what_has_ended_is_claimed_after_the_commit_of_its_end(pg: Postgres) -> None:
    job, attempt = await run(pg)
    assert await claim(pg.logs) == []
    await end(pg, job, attempt)
    assert await claim(pg.logs) == [job.id]
    assert await claim(pg.logs) == [], "it is leased"


async def test_what_is_gone_from_the_cluster_is_claimed_undecided(pg: Postgres) -> None:
    job, attempt = await run(pg)
    assert await claim(pg.logs) == []
    gone = msgspec.structs.replace(attempt, gone_at=NOW)
    change = Change(
        expected_version=job.version, job=msgspec.structs.replace(job, version=job.version + 1), attempts=(gone,)
    )
    await pg.process_store.commit([change], receipts={})
    assert await claim(pg.logs) == [job.id]


async def test_an_attempt_first_heard_of_at_its_end_is_claimed(pg: Postgres) -> None:
    assert await claim(pg.logs) == []
    job, _ = await run(pg, decided_at=NOW)
    assert await claim(pg.logs) == [job.id]


async def test_an_end_that_was_not_noted_is_found_by_the_periodic_look(pg: Postgres, database_url: str) -> None:
    """A processor of an older release does not write `ended_at`."""
    job, attempt = await run(pg)
    assert await claim(pg.logs) == []
    await end(pg, job, attempt)
    await execute(database_url, "UPDATE attempt_logs SET ended_at = NULL")
    assert await claim(pg.logs) == [], "the last look was just now"
    assert await claim(PostgresLogStore(pg.pool)) == [job.id]


async def test_a_commit_of_an_end_does_not_wait_for_the_collector(pg: Postgres) -> None:
    """The collector is in the middle of a write to this very log. Its end is noted later, by the collector."""
    job, attempt = await run(pg)
    assert await claim(pg.logs) == []

    async def hold(connection: Any) -> None:
        await connection.execute("UPDATE attempt_logs SET version = version + 1")
        await asyncio.wait_for(end(pg, job, attempt), timeout=10)

    await pg.pool.run(hold, transaction=True)
    assert await claim(PostgresLogStore(pg.pool)) == [job.id]


async def test_a_program_that_runs_again_has_not_ended(pg: Postgres, database_url: str) -> None:
    job, attempt = await run(pg)
    await end(pg, job, attempt)
    [row] = await fetch(database_url, "SELECT ended_at FROM attempt_logs")
    assert row["ended_at"] == NOW
    await execute(database_url, "UPDATE attempt_logs SET status = 'stored', done_at = now()")
    again = msgspec.structs.replace(attempt, logs="again")
    loaded = (await pg.process_store.load([job.id])).jobs[job.id].job
    change = Change(
        expected_version=loaded.version,
        job=msgspec.structs.replace(loaded, version=loaded.version + 1),
        attempts=(again,),
    )
    await pg.process_store.commit([change], receipts={})
    [row] = await fetch(database_url, "SELECT ended_at, done_at FROM attempt_logs")
    assert (row["ended_at"], row["done_at"]) == (None, None)


async def test_what_is_stopped_is_followed_first_then_what_is_read_then_what_runs_long(
    pg: Postgres, database_url: str
) -> None:
    old, young, wanted, stopping = [
        (await run(pg, started_at=at))[0].id for at in (HOUR_AGO, datetime.now(UTC), datetime.now(UTC), HOUR_AGO)
    ]
    await execute(
        database_url,
        f"UPDATE attempt_logs SET wanted_at = now() WHERE job_id = '{wanted}'",
        f"UPDATE jobs SET state = 'stopping' WHERE id = '{stopping}'",
        f"UPDATE attempts SET decided_at = now() WHERE job_id = '{stopping}'",
    )
    claims = [await claim(pg.logs, follow=1) for _ in range(4)]
    assert claims == [[stopping], [wanted], [old], []]
    assert await claim(pg.logs, follow=0) == []
    assert young not in {job_id for claimed in claims for job_id in claimed}
