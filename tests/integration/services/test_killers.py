"""One message that kills its processor, or never ends, is found among its batch; all others are worked on."""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
import uuid
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pytest
import pytest_asyncio
import structlog

from kube_job_runner import ports
from kube_job_runner.adapters import postgres
from kube_job_runner.adapters.simulated import SimulatedCluster, SteppedClock
from kube_job_runner.domain.decide.ruleset import Rules
from kube_job_runner.domain.errors import DatabaseUnavailable, PermanentError, TemporaryError
from kube_job_runner.domain.job import Job, new_job
from kube_job_runner.domain.limits import AdmissionLimits
from kube_job_runner.domain.messages import Check, Outgoing
from kube_job_runner.domain.spec.model import JobSpec
from kube_job_runner.domain.states import State
from kube_job_runner.services.pipeline.processor import LEASES, UNFINISHED_LEASES, Processor
from kube_job_runner.settings.groups import BatchSettings
from tests.support.clocks import LoopClock
from tests.support.postgres import fetch

pytestmark = pytest.mark.asyncio

CROWD = 100
DELIVERIES = 10
HELD = AdmissionLimits(total=0)


class Killed(BaseException):
    """The process has ended: nothing of ours runs any more, and nobody says a word about the messages."""


class Dying:
    """A queue whose process cannot say a word once it is killed."""

    def __init__(self, queue: ports.MessageQueue) -> None:
        self._queue = queue
        self.killed = False

    def __getattr__(self, name: str) -> Any:
        return getattr(self._queue, name)

    async def extend(self, receipts: Any, *, visibility_seconds: float) -> None:
        if not self.killed:
            await self._queue.extend(receipts, visibility_seconds=visibility_seconds)


class Bomb:
    """A store in which one job is the end of whoever loads it."""

    def __init__(self, store: ports.ProcessStore, victim: uuid.UUID, end: Callable[[], Any]) -> None:
        self._store = store
        self._victim = victim
        self._end = end
        self.ends = 0
        self.loads: list[int] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    async def load(self, job_ids: Any) -> ports.Snapshot:
        self.loads.append(len(job_ids))
        if self._victim in job_ids:
            self.ends += 1
            await self._end()
        return await self._store.load(job_ids)


class Crowd:
    """Many jobs, each with the message of a cancel, of which one kills."""

    def __init__(self, pg: postgres.Postgres, url: str, jobs: list[Job]) -> None:
        self.pg = pg
        self.url = url
        self.jobs = jobs
        self.killer = jobs[len(jobs) // 2]
        self.cluster = SimulatedCluster(clock=SteppedClock())

    def processor(self, store: Any, queue: Any, **settings: Any) -> Processor:
        return Processor(
            store=store,
            queue=queue,
            cluster=self.cluster,
            clock=LoopClock(),
            rules=Rules(),
            limits=HELD,
            settings=BatchSettings(**({"lease_seconds": 60.0, "max_deliveries": DELIVERIES} | settings)),
        )

    async def end_leases(self) -> None:
        await fetch(self.url, "UPDATE messages SET available_at = now()")

    async def dead(self) -> list[tuple[str, str]]:
        found = await fetch(self.url, "SELECT convert_from(body, 'UTF8') AS body, error FROM dead_letters")
        return [(row["body"], row["error"]) for row in found]

    async def left(self) -> int:
        [row] = await fetch(self.url, "SELECT count(*) AS n FROM messages")
        return int(row["n"])

    async def check_only_the_killer_is_dead(self) -> None:
        [(body, error)] = await self.dead()
        assert str(self.killer.id) in body
        assert error == f"delivered {DELIVERIES} times and never acknowledged"
        assert await self.left() == 0
        rows = await fetch(self.url, "SELECT id FROM jobs WHERE state <> 'cancelled'")
        assert [row["id"] for row in rows] == [self.killer.id]


@pytest.fixture(autouse=True)
def logged() -> Iterator[list[Any]]:
    """The log, kept: printing each traceback with its locals would take most of the time."""
    with structlog.testing.capture_logs() as lines:
        yield lines


@pytest_asyncio.fixture
async def crowd(database_url: str) -> AsyncIterator[Crowd]:
    pg = await postgres.connect(database_url, pool_size=5)
    jobs = []
    for _ in range(CROWD):
        job, encoded = new_job(JobSpec(image="x"), owner="a", default_namespace="d", now=dt.datetime.now(dt.UTC))
        await pg.submit_store.insert_jobs([ports.Submission(job=job, spec=encoded)])
        jobs.append(job)
    await fetch(database_url, "DELETE FROM messages")
    for job in jobs:
        await pg.submit_store.request_cancel(job.id, by="ann", reason="")
    yield Crowd(pg, database_url, jobs)
    await pg.close()


async def test_only_what_kills_every_process_is_dead_lettered(crowd: Crowd) -> None:
    async def die() -> None:
        queue.killed = True
        raise Killed

    bomb = Bomb(crowd.pg.process_store, crowd.killer.id, die)
    for _ in range(DELIVERIES + 1):  # each turn is a process
        queue = Dying(crowd.pg.queue)
        try:
            await crowd.processor(bomb, queue).run_once(wait_seconds=0)
        except Killed:
            await crowd.end_leases()
    assert bomb.ends == DELIVERIES
    assert bomb.loads[-1] == 1
    assert len(bomb.loads) <= 2 * DELIVERIES, "halves, not one by one"
    await crowd.check_only_the_killer_is_dead()


async def test_what_never_ends_is_given_up_and_found(crowd: Crowd, monkeypatch: pytest.MonkeyPatch) -> None:
    limits: list[asyncio.Timeout] = []
    timeout = asyncio.timeout

    def noted(seconds: float | None) -> asyncio.Timeout:
        limit = timeout(seconds)
        if seconds in {60.0 * LEASES, 60.0 * UNFINISHED_LEASES}:
            limits.append(limit)
        return limit

    async def hang() -> None:
        limits[-1].reschedule(asyncio.get_running_loop().time())  # the time is over
        await asyncio.Event().wait()

    monkeypatch.setattr(asyncio, "timeout", noted)
    bomb = Bomb(crowd.pg.process_store, crowd.killer.id, hang)
    processor = crowd.processor(bomb, crowd.pg.queue)
    for _ in range(DELIVERIES):
        with pytest.raises(TemporaryError, match="failed"):
            await processor.run_once(wait_seconds=0)
    await processor.run_once(wait_seconds=0)
    assert bomb.ends == DELIVERIES
    await crowd.check_only_the_killer_is_dead()


async def test_what_the_store_refuses_to_load_ends_no_process(crowd: Crowd) -> None:
    """A bug, or a row that PostgreSQL cannot read."""

    async def refuse() -> None:
        raise PermanentError("the database rejected the statement")

    bomb = Bomb(crowd.pg.process_store, crowd.killer.id, refuse)
    processor = crowd.processor(bomb, crowd.pg.queue)
    for _ in range(DELIVERIES + 1):
        with contextlib.suppress(TemporaryError):
            await processor.run_once(wait_seconds=0)
    await crowd.check_only_the_killer_is_dead()


async def test_an_outage_of_any_length_counts_no_delivery(crowd: Crowd) -> None:
    async def away() -> None:
        raise DatabaseUnavailable("away")

    bomb = Bomb(crowd.pg.process_store, crowd.killer.id, away)
    processor = crowd.processor(bomb, crowd.pg.queue)
    for _ in range(3 * DELIVERIES):
        with pytest.raises(DatabaseUnavailable):
            await processor.run_once(wait_seconds=0)
    assert await crowd.dead() == []
    counts = await fetch(crowd.url, "SELECT DISTINCT deliveries, lease_token FROM messages")
    assert [tuple(row) for row in counts] == [(0, None)]


async def test_while_the_store_is_away_nothing_is_received(crowd: Crowd) -> None:
    """With a queue outside the database, each receive would cost a request and count."""
    received = []

    class Counting(Dying):
        async def receive(self, **parameters: Any) -> list[ports.Delivery]:
            found = await crowd.pg.queue.receive(**parameters)
            received.append(len(found))
            return found

    class Away:
        def __getattr__(self, name: str) -> Any:
            raise DatabaseUnavailable("away")

    processor = crowd.processor(Away(), Counting(crowd.pg.queue))
    for _ in range(5):
        with pytest.raises(DatabaseUnavailable):
            await processor.run_once(wait_seconds=0)
    assert received == [CROWD]


async def test_what_could_not_be_given_back_is_given_back_later(crowd: Crowd) -> None:
    class Flapping(Dying):
        away = True

        async def give_back(self, deliveries: Any, **parameters: Any) -> None:
            if self.away:
                raise DatabaseUnavailable("away")
            await crowd.pg.queue.give_back(deliveries, **parameters)

    async def away() -> None:
        raise DatabaseUnavailable("away")

    bomb, queue = Bomb(crowd.pg.process_store, crowd.killer.id, away), Flapping(crowd.pg.queue)
    processor = crowd.processor(bomb, queue)
    for _ in range(2):
        with pytest.raises(DatabaseUnavailable):
            await processor.run_once(wait_seconds=0)
    queue.away = False
    bomb._victim = uuid.uuid4()
    assert await processor.run_once(wait_seconds=0) == CROWD
    assert await crowd.left() == 0


async def test_a_killer_among_other_messages_takes_no_new_job_with_it(crowd: Crowd) -> None:
    """A group that may kill its process admits nothing, and what came with it is given back as it was."""
    await fetch(crowd.url, "UPDATE messages SET deliveries = 1, lease_token = gen_random_uuid()")
    fresh = Check(job_id=crowd.jobs[0].id)
    await crowd.pg.queue.send([Outgoing(message=fresh, priority=9000)])
    processor = crowd.processor(crowd.pg.process_store, crowd.pg.queue)
    batch = await processor.take(wait_seconds=0)
    assert batch is not None
    assert (len(batch.deliveries), batch.unfinished, batch.alone, batch.more) == (CROWD, True, False, True)
    assert await processor.work(batch) == CROWD
    [row] = await fetch(crowd.url, "SELECT deliveries, lease_token FROM messages")
    assert tuple(row) == (0, None)


async def test_a_job_is_seen_by_others_once_its_message_is_dead(crowd: Crowd) -> None:
    await fetch(crowd.url, f"UPDATE messages SET deliveries = {DELIVERIES}")
    processor = crowd.processor(crowd.pg.process_store, crowd.pg.queue)
    await processor.run_once(wait_seconds=0)
    assert len(await crowd.dead()) == CROWD
    assert await crowd.pg.sweep_store.send_due_checks(limit=500, rearm_seconds=60) == CROWD
    await processor.run_once(wait_seconds=0)
    found = await fetch(crowd.url, "SELECT DISTINCT state FROM jobs")
    assert [row["state"] for row in found] == [State.CANCELLED.value]
