"""The queue suite on every adapter, and what only one of them promises."""

from __future__ import annotations

import asyncio
import contextlib
import uuid
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from kube_job_runner.adapters import postgres
from kube_job_runner.adapters.sqs import address
from kube_job_runner.adapters.sqs.address import Address
from kube_job_runner.adapters.sqs.admin import RECEIVES_BEYOND
from kube_job_runner.adapters.sqs.batches import BODY_MAX_BYTES
from kube_job_runner.adapters.sqs.client import open_client
from kube_job_runner.adapters.sqs.message_queue import SqsQueue
from kube_job_runner.domain import messages
from kube_job_runner.domain.errors import ConfigurationError, DatabaseUnavailable, PermanentError, TemporaryError
from kube_job_runner.domain.facts import EventFacts, JobFacts
from kube_job_runner.domain.messages import CONTROL_PRIORITY, Check, Observed, Outgoing
from kube_job_runner.ports import MessageQueue, QueueCounts
from testbed.elasticmq import ElasticMQ
from tests.contract.queue_suite import LONG_SECONDS, QueueHarness, QueueSuite, bodies, checks, nothing, take
from tests.support import sqs
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


class SqsHarness(QueueHarness):
    """One queue of an SQS server that enforces its limits; each client has connections of its own."""

    tick_seconds = 1.0

    def __init__(self, where: Address) -> None:
        self._where = where
        self._made = False
        self._opened = contextlib.AsyncExitStack()

    async def open(self) -> MessageQueue:
        """Return another client."""
        if not self._made:
            await sqs.make(self._where)
            self._made = True
        return await self._opened.enter_async_context(sqs.opened(self._where))

    async def dead_letters(self) -> list[tuple[bytes, str]]:
        """Return what is on the dead-letter queue."""
        return [(body, attributes["kjr_error"]) for body, attributes in await sqs.dead_letters(self._where)]

    async def close(self) -> None:
        """Close all clients; the queue goes with its server."""
        await self._opened.aclose()


@pytest.mark.usefixtures("aws_environment")
class TestSqsQueue(QueueSuite):
    """The suite on SQS."""

    def make_harness(self, request: pytest.FixtureRequest) -> QueueHarness:
        """Return a harness on a queue of its own."""
        return SqsHarness(sqs.new_address(request.getfixturevalue("sqs_server").url))


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


@pytest.mark.asyncio
async def test_a_receive_without_an_answer_does_not_count(
    pg: postgres.Postgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The network took the answer, again and again: the messages are nobody's, and no processor was killed by them."""
    await pg.queue.send(checks(3))
    fetch_rows = pg.pool.fetch

    async def without_an_answer(statement: str, *arguments: object) -> list[object]:
        await fetch_rows(statement, *arguments)
        raise DatabaseUnavailable("the connection was lost")

    for _ in range(20):
        with monkeypatch.context() as broken:
            broken.setattr(pg.pool, "fetch", without_an_answer)
            with pytest.raises(DatabaseUnavailable):
                await pg.queue.receive(limit=10, wait_seconds=0, visibility_seconds=LONG_SECONDS)
    found = await pg.queue.receive(limit=10, wait_seconds=0, visibility_seconds=LONG_SECONDS)
    assert [(each.deliveries, each.unfinished) for each in found] == [(1, False)] * 3


# --- SQS only ---------------------------------------------------------------------------------------------------------


@pytest.mark.asyncio
@pytest.mark.usefixtures("aws_environment")
class TestOnlySqs:
    """What the suite cannot ask of every queue."""

    @pytest_asyncio.fixture
    async def where(self, sqs_server: ElasticMQ) -> Address:
        """A queue that is made."""
        where = sqs.new_address(sqs_server.url)
        await sqs.make(where, max_deliveries=1)
        return where

    @pytest_asyncio.fixture
    async def queue(self, where: Address) -> AsyncIterator[SqsQueue]:
        """A client of it."""
        async with sqs.opened(where) as opened:
            yield opened

    async def test_every_character_that_a_cluster_may_say_arrives(self, queue: SqsQueue) -> None:
        text = "".join(map(chr, range(1, 0x180))) + "\ufffe\uffff\u202e\N{GRINNING FACE}\U0010ffff"
        event = EventFacts(uid="u", resource_version=1, object_kind="Pod", object_uid="p", reason="r", message=text)
        sent = Observed(job_id=uuid.uuid4(), attempt=1, seen=event)
        await queue.send([Outgoing(message=sent)])
        (delivery,) = await take(queue, 1)
        assert messages.decode(delivery.body) == sent

    async def test_a_message_that_is_too_large_is_refused_and_the_others_are_sent(self, queue: SqsQueue) -> None:
        large = Observed(job_id=uuid.uuid4(), attempt=1, seen=JobFacts(uid="x" * BODY_MAX_BYTES))
        others = checks(12)
        with pytest.raises(PermanentError, match=r"the limit is 262,144"):
            await queue.send([others[0], Outgoing(message=large), *others[1:]])
        assert bodies(await take(queue, 12)) == bodies(others)

    async def test_large_messages_are_spread_over_requests(self, queue: SqsQueue) -> None:
        sent = [
            Outgoing(message=Observed(job_id=uuid.uuid4(), attempt=1, seen=JobFacts(uid=f"{n}" * 150_000)))
            for n in range(9)
        ]
        await queue.send(sent)
        assert bodies(await take(queue, 9)) == bodies(sent)

    async def test_what_a_worker_never_survives_is_dead_lettered_by_the_server(
        self, where: Address, queue: SqsQueue
    ) -> None:
        """F15: nobody acknowledges, nobody even decodes; the server counts the receives."""
        await queue.send(checks(1))
        for _ in range(1 + RECEIVES_BEYOND):
            (poison,) = await take(queue, 1)
            await queue.extend([poison.receipt], visibility_seconds=0)
        assert await nothing(queue)
        assert [body for body, _ in await sqs.dead_letters(where)] == [poison.body]
        assert (await queue.counts()).dead == 1

    async def test_a_dead_letter_says_how_often_it_was_delivered(self, where: Address, queue: SqsQueue) -> None:
        await queue.send(checks(1))
        (delivery,) = await take(queue, 1)
        await queue.dead_letter([delivery], error="")
        [(_, attributes)] = await sqs.dead_letters(where)
        assert attributes == {"kjr_error": "-", "kjr_deliveries": "1"}

    async def test_the_counts_are_those_of_the_queue(self, queue: SqsQueue) -> None:
        await queue.send([*checks(3), *checks(1, delay_seconds=60)])
        await take(queue, 1)
        assert await queue.counts() == QueueCounts(waiting=2, in_flight=1, delayed=1)
        assert await queue.problem() is None

    async def test_a_queue_that_is_not_there_is_waited_for_and_then_named(self, sqs_server: ElasticMQ) -> None:
        where = sqs.new_address(sqs_server.url)
        with pytest.raises(ConfigurationError, match="kjr queue init"):
            async with sqs.opened(where, wait_seconds=0):
                pass

        async def send_one() -> None:
            async with sqs.opened(where) as queue:
                await queue.send(checks(1))

        sending = asyncio.create_task(send_one())
        await asyncio.sleep(0)
        await sqs.make(where)
        await sending

    async def test_a_server_that_is_away_is_temporary(self, where: Address, queue: SqsQueue) -> None:
        lost = address.parse(f"sqs://{where.name}", endpoint="http://127.0.0.1:1", default_region="elasticmq")
        async with open_client(lost) as client:
            away = SqsQueue(client, f"http://127.0.0.1:1/000000000000/{where.name}", dead_letter_url=None)
            with pytest.raises(TemporaryError, match="send message batch"):
                await away.send(checks(1))
            with pytest.raises(TemporaryError, match="receive message"):
                await away.receive(limit=1, wait_seconds=0, visibility_seconds=1)
            outcomes = await away.send_bodies([b"{}"])
            assert [type(outcome) for outcome in outcomes] == [TemporaryError]
            assert "127.0.0.1:1" in str(await away.problem())
