"""Leases and the fence: one holder at a time by the database's clock, and no write of a former holder."""

from __future__ import annotations

import asyncio
import contextlib
import uuid
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from kube_job_runner import ports
from kube_job_runner.adapters import postgres
from kube_job_runner.adapters.postgres.fence import FencedPool
from kube_job_runner.adapters.postgres.leader_leases import PostgresLeases
from kube_job_runner.adapters.postgres.pool import Connection
from kube_job_runner.domain.errors import DatabaseUnavailable, LeaseLost
from kube_job_runner.domain.messages import Check, Outgoing
from kube_job_runner.telemetry import metrics
from tests.support.postgres import age, execute, fetch, make_submission, store_jobs, until

pytestmark = pytest.mark.asyncio

WATCHER = "job-status-processor"
LOCK_WAITS = "SELECT 1 FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"


@pytest_asyncio.fixture
async def others(database_url: str) -> AsyncIterator[list[PostgresLeases]]:
    """The leases as other processes see them."""
    made = [PostgresLeases(database_url) for _ in range(8)]
    yield made
    for each in made:
        await each.close()


async def taken(leases: PostgresLeases, *, seconds: float = 60.0) -> ports.Fence:
    """Take the lease, which must be free."""
    fence = await leases.acquire(WATCHER, holder="test", lease_seconds=seconds)
    assert fence is not None
    return fence


async def free(leases: PostgresLeases) -> ports.Fence | None:
    """Take the lease when the server has seen that its holder is gone."""
    return await leases.acquire(WATCHER, holder="test", lease_seconds=60)


async def expire(url: str) -> None:
    """Let the lease run out: only the database's clock counts, and it cannot be moved."""
    await execute(url, "UPDATE component_leases SET expires_at = expires_at - interval '1 hour'")


def check() -> Outgoing:
    return Outgoing(message=Check(job_id=uuid.uuid4()))


async def messages(url: str) -> int:
    return int((await fetch(url, "SELECT count(*) FROM messages"))[0][0])


def refusals() -> float:
    return metrics.fenced_writes.labels(WATCHER)._value.get()


async def test_of_many_at_once_one_leads(others: list[PostgresLeases]) -> None:
    for epoch in range(1, 6):
        fences = await asyncio.gather(*(each.acquire(WATCHER, holder="", lease_seconds=60) for each in others))
        assert [fence.epoch for fence in fences if fence] == [epoch]
        assert await others[0].acquire("sweeper", holder="", lease_seconds=60) is None or epoch == 1
        leader = next(index for index, fence in enumerate(fences) if fence)
        await others[leader].release(fences[leader])  # type: ignore[arg-type]


async def test_a_lease_given_back_is_taken_at_once_and_one_that_is_held_is_not(others: list[PostgresLeases]) -> None:
    first = await taken(others[0])
    assert await others[1].acquire(WATCHER, holder="", lease_seconds=60) is None
    await others[0].release(first)
    second = await taken(others[1])
    assert (first.epoch, second.epoch) == (1, 2)
    await others[0].release(first)  # it is no longer its own to give
    assert await others[2].acquire(WATCHER, holder="", lease_seconds=60) is None


async def test_renewal_keeps_it_beyond_its_first_end(others: list[PostgresLeases], database_url: str) -> None:
    fence = await taken(others[0])
    await expire(database_url)
    await others[0].renew(fence, lease_seconds=60)  # late, and nobody else has come
    assert await others[1].acquire(WATCHER, holder="", lease_seconds=60) is None
    await expire(database_url)
    await taken(others[1])
    with pytest.raises(LeaseLost, match="job-status-processor since epoch 1"):
        await others[0].renew(fence, lease_seconds=60)


async def test_who_is_gone_is_not_waited_for(others: list[PostgresLeases], database_url: str) -> None:
    """The end of its connection is the end of a killed process."""
    await taken(others[0])
    await others[0].close()

    assert (await until(lambda: free(others[1]), what="the server has noticed")).epoch == 2


async def test_a_leader_that_lost_only_its_connection_goes_on_with_another(
    others: list[PostgresLeases], database_url: str
) -> None:
    fence = await taken(others[0])
    await execute(
        database_url,
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid = (SELECT session FROM component_leases)",
    )
    with contextlib.suppress(DatabaseUnavailable):  # as soon as the end of the connection is seen, or at the next try
        await others[0].renew(fence, lease_seconds=60)
    await others[0].renew(fence, lease_seconds=60)
    assert await others[1].acquire(WATCHER, holder="", lease_seconds=60) is None


async def test_no_write_of_a_former_leader_is_taken(
    pg: postgres.Postgres, others: list[PostgresLeases], database_url: str
) -> None:
    (job,) = await store_jobs(pg, make_submission())
    await age(database_url, "jobs", "finished_at", 0)
    await execute(database_url, "UPDATE jobs SET next_check_at = now()")
    old = pg.fenced(await taken(others[0]))
    await old.queue.send([check()])
    before, refused_before = await messages(database_url), refusals()
    await expire(database_url)
    new = pg.fenced(await taken(others[1]))
    writes: list[Any] = [
        old.queue.send([check()]),
        old.sweep_store.send_due_checks(limit=10, rearm_seconds=60),
        old.sweep_store.expire_idempotency_keys(older_than_seconds=0, limit=10),
        old.sweep_store.delete_old_jobs(older_than_seconds=0, limit=10),
        old.logs.delete_old_logs(older_than_seconds=0, limit=10),
        old.reconcile_store.claims([(job.id, 1)]),  # what is removed from the cluster is looked up right before
    ]
    for write in writes:
        with pytest.raises(LeaseLost):
            await write
    assert refusals() == refused_before + len(writes)
    assert await messages(database_url) == before
    assert await new.sweep_store.send_due_checks(limit=10, rearm_seconds=60) == 1
    await new.queue.send([check()])
    assert await messages(database_url) == before + 2
    await pg.queue.send([check()])  # those who need no lease are not concerned
    assert await messages(database_url) == before + 3


async def test_a_write_that_has_begun_comes_before_the_change_of_hands(
    pg: postgres.Postgres, others: list[PostgresLeases], database_url: str
) -> None:
    fence = await taken(others[0])
    inside, go_on = asyncio.Event(), asyncio.Event()

    async def work(connection: Connection) -> str:
        await connection.execute("INSERT INTO messages (body) VALUES ('x')")
        inside.set()
        await go_on.wait()
        return str(await connection.fetchval("SHOW idle_in_transaction_session_timeout"))

    writing = asyncio.create_task(FencedPool(pg.pool, fence).run(work))
    await inside.wait()
    await others[0].close()  # unlike a new `expires_at`, that needs no lock on the row
    taking = asyncio.create_task(until(lambda: free(others[1]), what="the standby leads"))
    await until(lambda: fetch(database_url, LOCK_WAITS), what="the standby waits for the write")
    assert not taking.done()
    go_on.set()
    # Who is stopped in the middle of a write is cut off well before a lease is over.
    assert await writing == "5s"
    assert (await taking).epoch == 2
    assert await messages(database_url) == 1


async def test_a_database_that_is_away_is_said_to_be(database_url: str) -> None:
    nowhere = PostgresLeases("postgresql://kjr@127.0.0.1:1/none")
    with pytest.raises(DatabaseUnavailable):
        await nowhere.acquire(WATCHER, holder="", lease_seconds=60)
    with pytest.raises(DatabaseUnavailable):
        await nowhere.release(ports.Fence(component=WATCHER, epoch=1))
    await nowhere.close()
