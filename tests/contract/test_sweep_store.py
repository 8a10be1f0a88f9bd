"""`SweepStore`: checks that are due, and removal of old rows."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta

import pytest

from kube_job_runner.adapters.postgres import Postgres
from kube_job_runner.domain import messages
from kube_job_runner.domain.job import Anomaly
from kube_job_runner.domain.messages import Check
from kube_job_runner.domain.states import State
from tests.support.postgres import age, execute, fetch, finish, make_attempt, make_change, make_submission, store_jobs

pytestmark = pytest.mark.asyncio
NOW = datetime.now(UTC).replace(microsecond=0)
PAST, FUTURE = NOW - timedelta(hours=1), NOW + timedelta(hours=1)


async def drained(pg: Postgres) -> list[messages.Message]:
    """Take all messages that may be received now."""
    found = await pg.queue.receive(limit=1000, wait_seconds=0, visibility_seconds=60)
    await pg.queue.ack([delivery.receipt for delivery in found])
    return [messages.decode(delivery.body) for delivery in found]


async def test_checks_are_sent_for_what_is_due(pg: Postgres) -> None:
    due, later, never = await store_jobs(
        pg, make_submission(next_check_at=PAST), make_submission(next_check_at=FUTURE), make_submission()
    )
    await drained(pg)
    assert await pg.sweep_store.send_due_checks(limit=10, rearm_seconds=60) == 1
    assert await drained(pg) == [Check(job_id=due.id)]
    after = await pg.job_reader.get_job(due.id)
    assert after is not None
    assert after.next_check_at is not None
    assert 30 < (after.next_check_at - datetime.now(UTC)).total_seconds() < 90
    assert after.version == due.version
    assert await pg.job_reader.get_job(later.id) == later
    assert await pg.job_reader.get_job(never.id) == never
    assert await pg.sweep_store.send_due_checks(limit=10, rearm_seconds=60) == 0
    assert await drained(pg) == []


async def test_two_sweepers_share_the_work(pg: Postgres) -> None:
    jobs = await store_jobs(pg, *(make_submission(next_check_at=PAST) for _ in range(40)))
    await drained(pg)
    sent = await asyncio.gather(*(pg.sweep_store.send_due_checks(limit=15, rearm_seconds=60) for _ in range(4)))
    sent.append(await pg.sweep_store.send_due_checks(limit=100, rearm_seconds=60))
    assert sum(sent) == 40
    assert sorted(message.job_id for message in await drained(pg)) == sorted(job.id for job in jobs)


async def test_old_idempotency_keys_are_forgotten(pg: Postgres, database_url: str) -> None:
    await pg.submit_store.insert_jobs([make_submission(key="a"), make_submission(key="b"), make_submission(key="c")])
    await execute(database_url, "UPDATE idempotency_keys SET created_at = now() - interval '8 days' WHERE key < 'c'")
    assert await pg.sweep_store.expire_idempotency_keys(older_than_seconds=7 * 86_400, limit=5) == 0, "their jobs wait"
    await execute(database_url, "UPDATE jobs SET finished_at = now() - interval '8 days'")
    assert await pg.sweep_store.expire_idempotency_keys(older_than_seconds=7 * 86_400, limit=1) == 1
    assert await pg.sweep_store.expire_idempotency_keys(older_than_seconds=7 * 86_400, limit=5) == 1
    assert await pg.sweep_store.expire_idempotency_keys(older_than_seconds=7 * 86_400, limit=5) == 0
    outcomes = await pg.submit_store.insert_jobs([make_submission(key="a"), make_submission(key="c")])
    assert [outcome.status for outcome in outcomes] == ["created", "replayed"]


async def test_old_jobs_leave_nothing_behind(pg: Postgres, database_url: str) -> None:
    old, young, live, stuck = await store_jobs(pg, *(make_submission() for _ in range(4)))
    gone, there = make_attempt(old, cluster_uid="u", gone_at=NOW), make_attempt(stuck, cluster_uid="u")
    anomaly = Anomaly(job_id=old.id, attempt=1, kind="k", detail="", at=NOW)
    await finish(pg, old, State.FAILED, attempts=(gone,), anomalies=(anomaly,))
    await finish(pg, stuck, attempts=(there,))
    await finish(pg, young)
    await pg.process_store.commit([make_change(live, State.RUNNING)], receipts={})
    for job in (old, stuck):
        await age(database_url, "jobs", "finished_at", 100, id=job.id)
    assert await pg.sweep_store.delete_old_jobs(older_than_seconds=50, limit=10) == 1
    assert await pg.job_reader.get_job(old.id) is None
    for table in ("job_specs", "attempts", "transitions", "anomalies"):
        assert await fetch(database_url, f"SELECT 1 FROM {table} WHERE job_id = $1", old.id) == []
    assert set(await pg.job_reader.versions([young.id, live.id, stuck.id])) == {young.id, live.id, stuck.id}
    assert await pg.sweep_store.delete_old_jobs(older_than_seconds=50, limit=10) == 0


async def test_deletes_are_bounded(pg: Postgres, database_url: str) -> None:
    for job in await store_jobs(pg, *(make_submission() for _ in range(5))):
        await finish(pg, job)
    await age(database_url, "jobs", "finished_at", 100)
    assert await pg.sweep_store.delete_old_jobs(older_than_seconds=50, limit=3) == 3
    assert await pg.sweep_store.delete_old_jobs(older_than_seconds=50, limit=3) == 2


async def test_history_has_partitions_ahead_and_never_refuses_a_row(pg: Postgres, database_url: str) -> None:
    for table in await fetch(
        database_url, "SELECT relid::text AS name FROM pg_partition_tree('transitions') WHERE isleaf"
    ):
        if table["name"] != "transitions_default":
            await execute(database_url, f"DROP TABLE {table['name']}")
    (job,) = await store_jobs(pg, make_submission())  # into the default partition
    await pg.sweep_store.delete_old_jobs(older_than_seconds=50, limit=3)
    found = await fetch(database_url, "SELECT relid::text AS name FROM pg_partition_tree('transitions') WHERE isleaf")
    assert len(found) == 3  # the default one, and the two months to come: this month's rows stay where they are
    await finish(pg, job, State.FAILED)
    assert len(await pg.job_reader.list_transitions(job.id)) == 2
