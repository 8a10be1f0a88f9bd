"""The queue suite on every adapter, and what only one of them promises."""

from __future__ import annotations

import asyncio
import uuid

import pytest

from kube_job_runner.adapters import postgres
from kube_job_runner.domain.messages import CONTROL_PRIORITY, Check, Outgoing
from kube_job_runner.ports import MessageQueue
from tests.contract.queue_suite import LONG_SECONDS, QueueHarness, QueueSuite, bodies, checks, nothing, take
from tests.support.postgres import execute, fetch


class PostgresHarness(QueueHarness):
    """The queue of one database; each client has a pool and a listening connection of its own."""

    tick_seconds = 0.2

    def __init__(self, url: str) -> None:
        self._url = url
        self._opened: list[postgres.Postgres] = []

    async def open(self) -> MessageQueue:
        """Return another client."""
        client = await postgres.connect(self._url, pool_size=3, poll_seconds=0.05)
        self._opened.append(client)
        return client.queue

    async def dead_letters(self) -> list[tuple[bytes, str]]:
        """Return the rows of `dead_letters`."""
        found = await fetch(self._url, "SELECT body, error FROM dead_letters ORDER BY id")
        return [(row["body"], row["error"]) for row in found]

    async def close(self) -> None:
        """Close all clients; the database goes with its fixture."""
        for client in self._opened:
            await client.close()


class TestPostgresQueue(QueueSuite):
    """The suite on PostgreSQL."""

    def make_harness(self, request: pytest.FixtureRequest) -> QueueHarness:
        """Return a harness on a fresh database."""
        return PostgresHarness(request.getfixturevalue("database_url"))


# --- PostgreSQL only --------------------------------------------------------------------------------------------------


@pytest.mark.asyncio
async def test_the_more_urgent_come_first_however_many_wait(pg: postgres.Postgres) -> None:
    low, middle, high = checks(5, priority=-100), checks(5, priority=7), checks(5, priority=CONTROL_PRIORITY)
    await pg.queue.send([*low, *middle, *high])
    for expected in (high, middle, low):
        assert bodies(await pg.queue.receive(limit=5, wait_seconds=0, visibility_seconds=LONG_SECONDS)) == bodies(
            expected
        )


@pytest.mark.asyncio
async def test_hidden_and_delayed_urgent_messages_do_not_stand_in_the_way(pg: postgres.Postgres) -> None:
    await pg.queue.send(checks(50, delay_seconds=LONG_SECONDS))
    await pg.queue.send(checks(3))
    await take(pg.queue, 3)
    new_work = checks(2, priority=0)
    await pg.queue.send(new_work)
    assert bodies(await pg.queue.receive(limit=10, wait_seconds=0, visibility_seconds=1)) == bodies(new_work)


@pytest.mark.asyncio
async def test_among_equals_the_oldest_come_first(pg: postgres.Postgres) -> None:
    sent = checks(6)
    for message in sent:
        await pg.queue.send([message])
    first = await pg.queue.receive(limit=3, wait_seconds=0, visibility_seconds=LONG_SECONDS)
    assert bodies(first) == bodies(sent[:3])


@pytest.mark.asyncio
async def test_a_message_that_commits_late_is_not_passed_over(pg: postgres.Postgres, database_url: str) -> None:
    """F04: ids are given out before the commit, so a smaller id may appear after a larger one was handled."""
    import asyncpg

    slow = await asyncpg.connect(database_url)
    transaction = slow.transaction()
    await transaction.start()
    await slow.execute("INSERT INTO messages (body) VALUES ('late'::bytea)")
    prompt = checks(1, priority=0)
    await pg.queue.send(prompt)
    (early,) = await take(pg.queue, 1)
    assert bodies([early]) == bodies(prompt)
    await pg.queue.ack([early.receipt])
    await transaction.commit()
    await slow.close()
    (late,) = await take(pg.queue, 1)
    assert late.body == b"late"
    assert int(late.receipt.split(":")[0]) < int(early.receipt.split(":")[0])


@pytest.mark.asyncio
async def test_a_receiver_waits_without_its_connection(pg: postgres.Postgres) -> None:
    """More receivers than connections may wait at once."""
    waiting = [asyncio.create_task(take(pg.queue, 1)) for _ in range(20)]
    await asyncio.sleep(0)
    await pg.queue.send(checks(20))
    assert len(await asyncio.gather(*waiting)) == 20


@pytest.mark.asyncio
async def test_an_acknowledged_batch_leaves_no_rows(pg: postgres.Postgres, database_url: str) -> None:
    await pg.queue.send([Outgoing(message=Check(job_id=uuid.uuid4())) for _ in range(10)])
    await pg.queue.ack([delivery.receipt for delivery in await take(pg.queue, 10)])
    assert (await fetch(database_url, "SELECT count(*) FROM messages"))[0][0] == 0


@pytest.mark.asyncio
async def test_without_hints_polling_still_delivers(pg: postgres.Postgres, database_url: str) -> None:
    waiting = asyncio.create_task(take(pg.queue, 1))
    await asyncio.sleep(0)
    await execute(database_url, "INSERT INTO messages (body) VALUES ('silent'::bytea)")
    (found,) = await waiting
    assert found.body == b"silent"
    assert await nothing(pg.queue)
