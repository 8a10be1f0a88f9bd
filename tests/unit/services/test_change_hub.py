"""The change hub, in virtual time."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from uuid import UUID

import pytest

from kube_job_runner.domain.errors import DatabaseUnavailable
from kube_job_runner.domain.job import Job
from kube_job_runner.domain.states import State
from kube_job_runner.services.change_hub import ChangeHub
from tests.unit.web.fakes import FakeClock, FakeStore, FakeWakeup

pytestmark = [pytest.mark.asyncio, pytest.mark.looptime]


def job_id_of(store: FakeStore, number: int = 1) -> UUID:
    """Put a job into the store, and return its id."""
    now = datetime(2026, 1, 15, 9, 30, tzinfo=UTC)
    job = Job(id=UUID(int=number), name="j", created_at=now, due_at=now)
    store.jobs[job.id] = job
    return job.id


def hub_of(store: FakeStore, wakeup: FakeWakeup) -> ChangeHub[UUID]:
    return ChangeHub(store.versions, wakeup, FakeClock())


async def test_a_thousand_polls_cost_one_query_each_second() -> None:
    store, wakeup = FakeStore(), FakeWakeup()
    ids = [job_id_of(store, number) for number in range(10)]
    hub = hub_of(store, wakeup)
    polls = [asyncio.create_task(hub.wait_newer(ids[i % 10], than=1, timeout_seconds=30)) for i in range(1000)]
    await asyncio.sleep(10.5)
    assert store.version_queries <= 12
    store.change(ids[3], state=State.RUNNING)
    wakeup.hint()
    await asyncio.sleep(0.1)
    assert sum(poll.done() for poll in polls) == 100
    await hub.close()
    assert await asyncio.gather(*polls) == [index % 10 == 3 for index in range(1000)]
    assert hub.waiting == 0


async def test_the_hub_survives_a_lost_database_and_rests_when_nobody_waits() -> None:
    store, wakeup = FakeStore(), FakeWakeup()
    job_id, hub = job_id_of(store), hub_of(store, wakeup)
    store.failure = DatabaseUnavailable()
    poll = asyncio.create_task(hub.wait_newer(job_id, than=1, timeout_seconds=30))
    await asyncio.sleep(5)
    assert not poll.done()
    store.failure = None
    store.change(job_id, state=State.RUNNING)
    assert await poll
    await asyncio.sleep(2)
    queries = store.version_queries
    await asyncio.sleep(20)
    assert store.version_queries == queries


async def test_a_cancelled_waiter_is_removed() -> None:
    store, wakeup = FakeStore(), FakeWakeup()
    job_id, hub = job_id_of(store), hub_of(store, wakeup)
    poll = asyncio.create_task(hub.wait_newer(job_id, than=1, timeout_seconds=30))
    await asyncio.sleep(0)
    assert hub.waiting == 1
    poll.cancel()
    await asyncio.gather(poll, return_exceptions=True)
    assert hub.waiting == 0
    await hub.close()
