"""`Health`: readiness, and the figures for metrics."""

from __future__ import annotations

import pytest

from kube_job_runner.adapters.postgres import Postgres
from kube_job_runner.domain.messages import Check, Outgoing
from kube_job_runner.domain.states import State
from tests.support.postgres import execute, finish, make_change, make_submission, store_jobs

pytestmark = pytest.mark.asyncio


async def test_health_and_depth(pg: Postgres, database_url: str) -> None:
    assert await pg.health.check() == {"database": None, "schema": None}
    jobs = [(await store_jobs(pg, make_submission()))[0] for _ in range(6)]
    await finish(pg, jobs[0])
    await finish(pg, jobs[1])
    await pg.process_store.commit([make_change(jobs[2], State.RUNNING)], receipts={})
    await execute(database_url, "UPDATE messages SET available_at = now() - interval '90 seconds' WHERE id % 2 = 0")
    await pg.queue.send([Outgoing(message=Check(job_id=jobs[0].id), delay_seconds=600)])
    (dead,) = await pg.queue.receive(limit=1, wait_seconds=0, visibility_seconds=9)
    await pg.queue.dead_letter([dead], error="x")
    await execute(database_url, "ANALYZE jobs")
    depth = await pg.health.depth()
    assert depth.jobs_by_state == {"queued": 3, "starting": 0, "running": 1, "stopping": 0, "succeeded": 2}
    assert depth.jobs_by_queue == {("default", "queued"): 3}, "what is set running by hand was never admitted"
    await execute(database_url, "UPDATE jobs SET admitted_at = now() WHERE state = 'running'")
    assert (await pg.health.depth()).jobs_by_queue == {("default", "queued"): 3, ("default", "running"): 1}
    assert depth.outbox_oldest_seconds == depth.oldest_message_seconds
    assert depth.messages == 6
    assert 80 < depth.oldest_message_seconds < 200
    assert depth.dead_letters == 1


async def test_depth_of_nothing(pg: Postgres) -> None:
    depth = await pg.health.depth()
    assert set(depth.jobs_by_state.values()) == {0}
    assert (depth.messages, depth.oldest_message_seconds, depth.dead_letters) == (0, 0.0, 0)
