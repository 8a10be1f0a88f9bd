"""The outbox relay on a real PostgreSQL, with a sink that fails as told (F02 to F06) and with a real SQS server."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Callable, Sequence

import pytest

from kube_job_runner.adapters import postgres
from kube_job_runner.components import outbox_relay
from kube_job_runner.domain import messages
from kube_job_runner.domain.errors import KjrError, PermanentError, TemporaryError
from kube_job_runner.domain.messages import Check, Outgoing
from kube_job_runner.ports import QueueCounts
from kube_job_runner.services.relay import QueueHealth, Relay, RelaySettings
from testbed.elasticmq import ElasticMQ
from tests.contract.queue_suite import bodies, checks, take
from tests.support import sqs
from tests.support.postgres import execute, fetch, make_submission, store_jobs

pytestmark = pytest.mark.asyncio
QUICK = RelaySettings(lease_seconds=0.3, wait_seconds=0.1)


class Sink:
    """Keeps what it is sent."""

    def __init__(self, outcome: Callable[[bytes], KjrError | None] = lambda _: None) -> None:
        self.sent: list[bytes] = []
        self.outcome = outcome
        self.gate = asyncio.Event()
        self.gate.set()
        self.entered = asyncio.Event()
        self.three = asyncio.Event()

    async def send_bodies(self, bodies: Sequence[bytes]) -> list[KjrError | None]:
        self.entered.set()
        await self.gate.wait()
        outcomes = [self.outcome(body) for body in bodies]
        self.sent += [body for body, outcome in zip(bodies, outcomes, strict=True) if outcome is None]
        if len(self.sent) >= 3:
            self.three.set()
        return outcomes

    async def counts(self) -> QueueCounts:
        return QueueCounts(waiting=7, dead=1)

    async def problem(self) -> str | None:
        return "it is away"


async def left(url: str) -> int:
    return int((await fetch(url, "SELECT count(*) FROM messages"))[0][0])


def relay(pg: postgres.Postgres, sink: Sink) -> Relay:
    return Relay(outbox=pg.queue, sink=sink, settings=QUICK)


async def test_what_a_submit_committed_is_sent_and_removed(pg: postgres.Postgres, database_url: str) -> None:
    [job] = await store_jobs(pg, make_submission())
    sink = Sink()
    assert await relay(pg, sink).run_once() == 1
    assert [messages.decode(body).job_id for body in sink.sent] == [job.id]
    assert await left(database_url) == 0
    assert await relay(pg, sink).run_once() == 0


async def test_what_a_killed_relay_held_is_sent_by_another(pg: postgres.Postgres) -> None:
    """F02: it had leased the rows, and sent nothing."""
    sent = checks(5)
    await pg.queue.send(sent)
    await pg.queue.receive(limit=5, wait_seconds=0, visibility_seconds=QUICK.lease_seconds)
    sink = Sink()
    async with asyncio.timeout(10):
        while not await relay(pg, sink).run_once():
            pass
    assert sorted(sink.sent) == bodies(sent)


async def test_killed_between_send_and_removal_it_sends_twice_and_loses_nothing(pg: postgres.Postgres) -> None:
    """F03."""
    await pg.queue.send(checks(1))
    sink = Sink()
    [held] = await pg.queue.receive(limit=1, wait_seconds=0, visibility_seconds=QUICK.lease_seconds)
    await sink.send_bodies([held.body])
    async with asyncio.timeout(10):
        while not await relay(pg, sink).run_once():
            pass
    assert sink.sent == [held.body, held.body]


async def test_a_row_that_commits_late_is_sent(pg: postgres.Postgres, database_url: str) -> None:
    """F04: its id is smaller than that of one that was sent already."""
    import asyncpg

    slow = await asyncpg.connect(database_url)
    transaction = slow.transaction()
    await transaction.start()
    await slow.execute("INSERT INTO messages (body) VALUES ('late'::bytea)")
    await pg.queue.send(checks(1))
    sink = Sink()
    assert await relay(pg, sink).run_once() == 1
    await transaction.commit()
    await slow.close()
    assert await relay(pg, sink).run_once() == 1
    assert sink.sent[1] == b"late"


async def test_two_relays_share_the_work(pg: postgres.Postgres, database_url: str) -> None:
    """F05, and a backlog of F06's kind: no row is sent twice while both live."""
    await execute(
        database_url,
        "INSERT INTO messages (body) SELECT convert_to(n::text, 'UTF8') FROM generate_series(1, 5000) AS n",
    )
    sink = Sink()
    settings = RelaySettings(batch_size=300, lease_seconds=60, wait_seconds=0)

    async def drain() -> None:
        one = Relay(outbox=pg.queue, sink=sink, settings=settings)
        while await one.run_once():
            pass

    await asyncio.gather(drain(), drain(), drain())
    assert sorted(map(int, sink.sent)) == list(range(1, 5001))
    assert await left(database_url) == 0


async def test_the_urgent_go_first(pg: postgres.Postgres) -> None:
    low, high = checks(2, priority=0), checks(2)
    await pg.queue.send(low)
    await pg.queue.send(high)
    sink = Sink()
    one = Relay(outbox=pg.queue, sink=sink, settings=RelaySettings(batch_size=2, wait_seconds=0))
    await one.run_once()
    assert sorted(sink.sent) == bodies(high)


async def test_a_delayed_message_waits_in_the_outbox(pg: postgres.Postgres, database_url: str) -> None:
    await pg.queue.send(checks(1, delay_seconds=7200))
    sink = Sink()
    assert await relay(pg, sink).run_once() == 0
    assert await left(database_url) == 1


async def test_while_the_queue_is_away_everything_waits(pg: postgres.Postgres, database_url: str) -> None:
    """F18."""
    sent = checks(3)
    await pg.queue.send(sent)
    away = TemporaryError("away", delay_seconds=0.0)
    first = bodies(sent)[0]
    sink = Sink(lambda body: away if body != first else None)
    with pytest.raises(TemporaryError, match="away"):
        await relay(pg, sink).run_once()
    assert await left(database_url) == 2
    sink.outcome = lambda _: None
    assert await relay(pg, sink).run_once() == 2
    assert sorted(sink.sent) == bodies(sent)


async def test_what_can_never_be_sent_stands_in_nobodys_way(pg: postgres.Postgres, database_url: str) -> None:
    sent = checks(2)
    await pg.queue.send(sent)
    bad = bodies(sent)[0]
    sink = Sink(lambda body: PermanentError("too large") if body == bad else None)
    await relay(pg, sink).run_once()
    assert sink.sent == [bodies(sent)[1]]
    [row] = await fetch(database_url, "SELECT body, error FROM dead_letters")
    assert (row["body"], row["error"]) == (bad, "too large")
    assert await left(database_url) == 0


async def test_a_relay_that_is_cut_off_gives_its_batch_back(pg: postgres.Postgres) -> None:
    await pg.queue.send(checks(2))
    sink = Sink()
    sink.gate.clear()
    slow = Relay(outbox=pg.queue, sink=sink, settings=RelaySettings(lease_seconds=60, wait_seconds=0))
    sending = asyncio.create_task(slow.run_once())
    await sink.entered.wait()
    sending.cancel()
    with pytest.raises(asyncio.CancelledError):
        await sending
    assert len(await take(pg.queue, 2)) == 2


async def test_the_component_sends_until_it_is_stopped(pg: postgres.Postgres) -> None:
    sink, stop = Sink(), asyncio.Event()
    running = asyncio.create_task(outbox_relay.run(relay(pg, sink), pipelines=2, stop=stop, drain_seconds=5))
    await pg.queue.send(checks(3))
    async with asyncio.timeout(10):
        await sink.three.wait()
    stop.set()
    async with asyncio.timeout(5):
        await running


async def test_readiness_names_the_queue(pg: postgres.Postgres) -> None:
    health = QueueHealth(pg.health, Sink())
    assert await health.check() == {
        "database": None,
        "schema": None,
        "queue": "the queue cannot be used; the log says why (action queue.check)",
    }
    assert (await health.depth()).messages == 0


@pytest.mark.usefixtures("aws_environment")
async def test_from_the_outbox_to_sqs(pg: postgres.Postgres, sqs_server: ElasticMQ) -> None:
    where = sqs.new_address(sqs_server.url)
    await sqs.make(where)
    sent = [Outgoing(message=Check(job_id=uuid.uuid4())) for _ in range(123)]
    await pg.queue.send(sent)
    async with sqs.opened(where) as queue:
        one = Relay(outbox=pg.queue, sink=queue, settings=QUICK)
        assert await one.run_once() == 123
        assert bodies(await take(queue, 123)) == bodies(sent)
        await one.measure()
