"""The batch pipeline when messages, handlers or the store misbehave: one bad message never takes its batch down."""

from __future__ import annotations

import asyncio
import datetime as dt
import uuid
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from typing import Any

import msgspec
import pytest
import pytest_asyncio
import structlog

from kube_job_runner import ports
from kube_job_runner.adapters import postgres
from kube_job_runner.adapters.simulated import SimulatedCluster, SteppedClock
from kube_job_runner.domain.decide import creation, lifecycle, retries
from kube_job_runner.domain.decide.decision import Decision, DecisionBuilder
from kube_job_runner.domain.decide.ruleset import Rules
from kube_job_runner.domain.errors import ClusterRefused, DatabaseUnavailable, PermanentError, TemporaryError
from kube_job_runner.domain.facts import Condition, ContainerFacts, JobFacts, PodFacts
from kube_job_runner.domain.job import Job, Transition, new_job
from kube_job_runner.domain.limits import DEFAULT_ADMISSION, AdmissionLimits
from kube_job_runner.domain.messages import Check, Observed, Outgoing
from kube_job_runner.domain.spec.model import JobSpec
from kube_job_runner.domain.states import State
from kube_job_runner.services.pipeline.processor import ADMIT_SECONDS, Processor
from kube_job_runner.settings.groups import BatchSettings
from kube_job_runner.telemetry import metrics
from tests.support.clocks import LoopClock
from tests.support.postgres import age, fetch

pytestmark = pytest.mark.asyncio
SPEC = JobSpec(image="busybox:1", command=("true",))
ENDED = ContainerFacts(name="main", state="terminated", reason="Completed", exit_code=0)


class Wrapped:
    """The real store, with a fault to be set per call."""

    def __init__(self, store: ports.ProcessStore) -> None:
        self.store = store
        self.refuse: uuid.UUID | None = None
        self.commit_error: Exception | None = None
        self.load_error: Exception | None = None

    async def bind_cluster(self, identity: ports.ClusterIdentity) -> list[ports.ClusterIdentity]:
        return await self.store.bind_cluster(identity)

    async def load(self, job_ids: Any) -> ports.Snapshot:
        if self.load_error is not None:
            raise self.load_error
        return await self.store.load(job_ids)

    async def commit(
        self, changes: Sequence[ports.Change], *, receipts: Mapping[uuid.UUID, Sequence[str]]
    ) -> set[uuid.UUID]:
        if self.commit_error is not None:
            error, self.commit_error = self.commit_error, None
            raise error
        if any(change.job.id == self.refuse for change in changes):
            raise PermanentError("the store refuses this row")
        return await self.store.commit(changes, receipts=receipts)

    async def admit(self, limits: AdmissionLimits, *, limit: int, lease_seconds: float) -> ports.Snapshot:
        if self.load_error is not None:
            raise self.load_error
        return await self.store.admit(limits, limit=limit, lease_seconds=lease_seconds)


class Bench:
    def __init__(self, pg: postgres.Postgres, url: str) -> None:
        self.pg = pg
        self.url = url
        self.store = Wrapped(pg.process_store)
        self.cluster = SimulatedCluster(clock=SteppedClock())
        self.processor = self.make()

    def make(
        self, *, limits: AdmissionLimits = DEFAULT_ADMISSION, admit_seconds: float = ADMIT_SECONDS, **settings: Any
    ) -> Processor:
        return Processor(
            store=self.store,
            queue=self.pg.queue,
            cluster=self.cluster,
            clock=LoopClock(),
            rules=Rules(),
            limits=limits,
            settings=BatchSettings(**({"lease_seconds": 30.0, "max_deliveries": 3} | settings)),
            admit_seconds=admit_seconds,
        )

    async def submit(self, count: int = 1, **spec: Any) -> list[Job]:
        jobs = []
        for _ in range(count):
            job, encoded = new_job(
                JobSpec(image="busybox:1", command=("true",), **spec),
                owner="ann",
                default_namespace="default",
                now=dt.datetime.now(dt.UTC),
            )
            await self.pg.submit_store.insert_jobs([ports.Submission(job=job, spec=encoded)])
            jobs.append(job)
        return jobs

    async def state(self, job: Job) -> Job:
        found = await self.pg.job_reader.get_job(job.id)
        assert found is not None
        return found

    async def end(self, job: Job) -> None:
        """Tell that the cluster job of a job has completed."""
        [attempt] = await self.pg.job_reader.list_attempts(job.id)
        done = (Condition(type="Complete", reason="Completed"),)
        seen = JobFacts(uid=attempt.cluster_uid or "", resource_version=9_999, conditions=done)
        pod = PodFacts(
            uid="p", name="p", job_uid=seen.uid, resource_version=9_999, phase="Succeeded", containers=(ENDED,)
        )
        found = [Observed(job_id=job.id, attempt=1, seen=seen), Observed(job_id=job.id, attempt=1, seen=pod)]
        await self.pg.queue.send([Outgoing(message=message) for message in found])

    async def make_due(self) -> None:
        await fetch(self.url, "UPDATE messages SET available_at = now()")

    async def dead_letters(self) -> list[str]:
        return [row["error"] for row in await fetch(self.url, "SELECT error FROM dead_letters ORDER BY id")]

    async def messages(self) -> int:
        [row] = await fetch(self.url, "SELECT count(*) AS n FROM messages")
        return int(row["n"])


@pytest_asyncio.fixture
async def bench(database_url: str) -> AsyncIterator[Bench]:
    pg = await postgres.connect(database_url, pool_size=5)
    yield Bench(pg, database_url)
    await pg.close()


async def test_a_batch_is_created_and_acknowledged(bench: Bench) -> None:
    jobs = await bench.submit(5)
    assert await bench.processor.run_once(wait_seconds=1) == 10, "five messages and five admitted jobs"
    assert {(await bench.state(job)).state for job in jobs} == {State.STARTING}
    assert await bench.messages() == 0
    assert len(bench.cluster.history.creates) == 5


async def test_what_cannot_be_read_is_dead_lettered_and_the_rest_goes_on(bench: Bench) -> None:
    [job] = await bench.submit()
    bodies = [b"not json", b'{"type":"check","v":99,"job_id":"%s"}' % str(job.id).encode(), b'{"type":"what"}']
    for body in bodies:
        await fetch(bench.url, "INSERT INTO messages (priority, body) VALUES (1000, $1)", body)
    await bench.processor.run_once(wait_seconds=1)
    errors = await bench.dead_letters()
    assert len(errors) == 3
    assert all(error.startswith("unreadable message") for error in errors)
    assert any("unknown message version 99" in error for error in errors)
    assert (await bench.state(job)).state is State.STARTING


async def test_a_message_that_kills_its_worker_every_time_is_dead_lettered_by_its_count(bench: Bench) -> None:
    [job] = await bench.submit()
    await fetch(bench.url, "UPDATE messages SET deliveries = 3")
    await bench.processor.run_once(wait_seconds=1)
    assert await bench.dead_letters() == ["delivered 3 times and never acknowledged"]
    assert (await bench.state(job)).state is State.QUEUED


async def test_a_row_that_the_store_refuses_fails_alone(bench: Bench) -> None:
    jobs = await bench.submit(4)
    bench.store.refuse = jobs[1].id
    for _ in range(4):
        await bench.processor.run_once(wait_seconds=0.2)
        await bench.make_due()
    assert [(await bench.state(job)).state for job in jobs] == [
        State.STARTING,
        State.QUEUED,
        State.STARTING,
        State.STARTING,
    ]
    assert await bench.dead_letters() == ["PermanentError('the store refuses this row')"]


async def test_a_commit_that_is_not_known_to_have_worked_is_repeated_and_creates_nothing_twice(bench: Bench) -> None:
    jobs = await bench.submit(3)
    bench.store.commit_error = DatabaseUnavailable("gone in the middle", delay_seconds=0.0)
    await bench.processor.run_once(wait_seconds=1)
    assert {(await bench.state(job)).state for job in jobs} == {State.QUEUED}
    await bench.processor.run_once(wait_seconds=1)
    assert {(await bench.state(job)).state for job in jobs} == {State.STARTING}
    assert set(bench.cluster.history.creates.values()) == {1}


async def test_a_store_that_is_away_gives_the_batch_back_at_once(bench: Bench) -> None:
    await bench.submit()
    bench.store.load_error = DatabaseUnavailable("away")
    with pytest.raises(DatabaseUnavailable):
        await bench.processor.run_once(wait_seconds=1)
    bench.store.load_error = None
    assert await bench.processor.run_once(wait_seconds=1) == 2, "not only when the lease of 30 s is over"


async def test_messages_of_a_job_that_is_not_there_are_done_with(bench: Bench) -> None:
    await bench.pg.queue.send([Outgoing(message=Check(job_id=uuid.uuid4()))])
    assert await bench.processor.run_once(wait_seconds=1) == 1
    assert await bench.messages() == 0


async def test_an_observation_that_comes_before_its_attempt_comes_back(bench: Bench) -> None:
    [job] = await bench.submit()
    early = Observed(job_id=job.id, attempt=1, seen=JobFacts(uid="somebody", resource_version=5))
    await bench.pg.queue.send([Outgoing(message=early)])
    await fetch(bench.url, "UPDATE messages SET available_at = 'infinity' WHERE priority = 0")
    await bench.processor.run_once(wait_seconds=1)
    assert await bench.messages() == 2, "hidden for a while, not lost"
    await bench.make_due()
    await bench.processor.run_once(wait_seconds=1)
    assert (await bench.state(job)).state is State.STARTING


async def test_an_observation_waits_as_long_as_a_create_may_be_on_its_way_however_often_it_comes(bench: Bench) -> None:
    """Its deliveries are nobody's failures: `max_deliveries` (here 3) has nothing to do with it."""
    [job] = await bench.submit()
    await bench.pg.process_store.admit(AdmissionLimits(), limit=10, lease_seconds=30.0)
    await fetch(bench.url, "DELETE FROM messages")
    early = Observed(job_id=job.id, attempt=1, seen=PodFacts(uid="p", name="early", job_uid="u", resource_version=5))
    await bench.pg.queue.send([Outgoing(message=early)])
    delays: list[float] = []
    while sum(delays) < 30.0 + Rules().create_settle_seconds:
        await bench.processor.run_once(wait_seconds=0.1)
        [row] = await fetch(bench.url, "SELECT extract(epoch FROM available_at - now()) AS seconds FROM messages")
        delays.append(float(row["seconds"]))
        await bench.make_due()
    assert len(delays) > 8
    assert max(delays) <= 15.0
    made = creation.created(
        await bench.state(job),
        {},
        retries.new_attempt(job, {}),
        JobFacts(uid="u", resource_version=4),
        now=dt.datetime.now(dt.UTC),
        rules=Rules(),
    )
    written = ports.Change(
        expected_version=2, job=made.job, attempts=made.attempts, transitions=made.transitions, messages=made.messages
    )
    assert await bench.pg.process_store.commit([written], receipts={}) == {job.id}
    await bench.processor.run_once(wait_seconds=0.1)
    [attempt] = await bench.pg.job_reader.list_attempts(job.id)
    assert attempt.pod_name == "early"
    assert await bench.dead_letters() == []


async def test_an_observation_of_an_attempt_that_never_comes_is_done_with(bench: Bench) -> None:
    [job] = await bench.submit()
    early = Observed(job_id=job.id, attempt=7, seen=JobFacts(uid="somebody", resource_version=5))
    await fetch(bench.url, "DELETE FROM messages")
    await bench.pg.queue.send([Outgoing(message=early)])
    before = metrics.unknown_objects._value.get()
    for _ in range(40):
        await bench.processor.run_once(wait_seconds=0.0)
        await bench.make_due()
    assert await bench.messages() == 0
    assert await bench.dead_letters() == []
    assert metrics.unknown_objects._value.get() == before + 1


async def test_a_grace_period_goes_on_when_another_processor_takes_the_job(bench: Bench) -> None:
    """Its begin is stored: neither a restart nor a change of the pod in between begins it anew."""
    [job] = await bench.submit(annotations={"kjr.test/mode": "imagepull"})
    await bench.processor.run_once(wait_seconds=1)
    bench.cluster.advance(1.0)
    [sim] = bench.cluster._world.by_uid.values()
    assert sim.pod is not None
    seen = Observed(job_id=job.id, attempt=1, seen=sim.pod)
    await bench.pg.queue.send([Outgoing(message=seen)])
    await bench.processor.run_once(wait_seconds=1)
    grace_seconds = Rules().graces["image"]
    for aged, state in ((grace_seconds / 2, State.STARTING), (grace_seconds / 2 + 1, State.FAILED)):
        await age(bench.url, "attempts", "unhealthy_since", aged)
        await bench.pg.queue.send([Outgoing(message=Check(job_id=job.id))])
        await bench.make().run_once(wait_seconds=1)
        assert (await bench.state(job)).state is state
    assert (await bench.state(job)).reason == "ImageNotFound"


async def test_a_cancel_while_the_create_is_in_flight_leaves_nothing(bench: Bench) -> None:
    [job] = await bench.submit()
    bench.cluster.faults.add("create", _slow(), times=1)
    creating = asyncio.create_task(bench.processor.run_once(wait_seconds=1))
    await _until_admitted(bench)
    await bench.pg.submit_store.request_cancel(job.id, by="ann", reason="changed my mind")
    other = bench.make()
    await other.run_once(wait_seconds=1)
    await fetch(bench.url, "UPDATE jobs SET cancel_requested_at = cancel_requested_at - interval '1 minute'")
    await bench.pg.queue.send([Outgoing(message=Check(job_id=job.id))])
    await other.run_once(wait_seconds=1)
    assert (await bench.state(job)).state is State.QUEUED, (
        "its create may arrive until the lease of its processor is over"
    )
    await age(bench.url, "jobs", "create_until", 30 + Rules().create_settle_seconds)
    await bench.pg.queue.send([Outgoing(message=Check(job_id=job.id))])
    await other.run_once(wait_seconds=1)
    assert (await bench.state(job)).state is State.CANCELLED, "the cluster held nothing when it was asked"
    bench.cluster.advance(10)
    await creating
    [attempt] = await bench.pg.job_reader.list_attempts(job.id)
    assert attempt.delete_requested_at is not None
    await other.run_once(wait_seconds=1)
    bench.cluster.advance(5)
    assert bench.cluster.history.alive_now == 0
    assert (await bench.state(job)).state is State.CANCELLED


async def test_a_cancel_whose_message_is_lost_is_carried_out_within_seconds(bench: Bench) -> None:
    held = bench.make(limits=AdmissionLimits(total=0))
    [job] = await bench.submit()
    await bench.pg.submit_store.request_cancel(job.id, by="ann", reason="")
    await fetch(bench.url, "DELETE FROM messages")  # dead-lettered, purged, or expired in SQS
    assert await bench.pg.sweep_store.send_due_checks(limit=9, rearm_seconds=60) == 1
    await held.run_once(wait_seconds=1)
    assert (await bench.state(job)).state is State.CANCELLED
    assert await bench.pg.sweep_store.send_due_checks(limit=9, rearm_seconds=60) == 0, "once is enough"


def _slow() -> Any:
    from kube_job_runner.adapters.simulated import Fault

    return Fault(delay_seconds=5.0)


async def _until_admitted(bench: Bench) -> None:
    for _ in range(1000):
        [row] = await fetch(bench.url, "SELECT count(*) AS n FROM jobs WHERE admitted_at IS NOT NULL")
        if row["n"]:
            return
        await asyncio.sleep(0.01)
    pytest.fail("no job was admitted")


async def test_a_right_that_we_lack_makes_jobs_wait(bench: Bench) -> None:
    [job] = await bench.submit()
    bench.cluster.fail_next("create", ClusterRefused("jobs.batch is forbidden", reason="Forbidden", status=403))
    await bench.processor.run_once(wait_seconds=1)
    waiting = await bench.state(job)
    assert waiting.state is State.QUEUED
    assert "forbidden" in waiting.explanation
    assert waiting.next_check_at is not None


@pytest.mark.parametrize(("reason", "expected_seconds"), [("Unauthorized", 60), ("ClusterUnavailable", 10)])
async def test_f25_a_create_that_has_waited_long_comes_back_soon_after_an_outage(
    bench: Bench, reason: str, expected_seconds: float
) -> None:
    [job] = await bench.submit()
    for column in ("created_at", "due_at"):
        await age(bench.url, "jobs", column, 3600)
    bench.cluster.fail_next("create", TemporaryError("no answer", reason=reason))
    await bench.processor.run_once(wait_seconds=1)
    waiting = await bench.state(job)
    assert waiting.state is State.QUEUED
    assert waiting.next_check_at is not None
    left_seconds = (waiting.next_check_at - dt.datetime.now(dt.UTC)).total_seconds()
    assert expected_seconds - 5 < left_seconds <= expected_seconds


async def test_a_refusal_ends_the_job(bench: Bench) -> None:
    [job] = await bench.submit()
    bench.cluster.fail_next("create", ClusterRefused("policy says no", reason="AdmissionDenied", status=403))
    await bench.processor.run_once(wait_seconds=1)
    ended = await bench.state(job)
    assert (ended.state, ended.reason) == (State.FAILED, "AdmissionDenied")


async def test_a_full_cluster_leaves_new_work_waiting_until_a_job_ends(bench: Bench) -> None:
    first = await bench.submit(2)
    limited = bench.make(limits=AdmissionLimits(total=2))
    await limited.run_once(wait_seconds=1)
    [late] = await bench.submit()
    assert await limited.run_once(wait_seconds=0.2) == 1, "its message is done with: the row itself waits"
    assert await bench.messages() == 0
    assert (await bench.state(late)).admitted_at is None
    await bench.end(first[0])
    await limited.run_once(wait_seconds=1)
    assert (await bench.state(first[0])).state is State.SUCCEEDED
    assert (await bench.state(late)).state is State.STARTING, "admitted by the very batch that freed its place"


async def test_what_was_admitted_by_a_processor_that_died_is_created_by_another(bench: Bench) -> None:
    [job] = await bench.submit()
    await bench.pg.process_store.admit(AdmissionLimits(), limit=10, lease_seconds=30.0)
    await bench.processor.run_once(wait_seconds=0.1)
    assert (await bench.state(job)).state is State.QUEUED, "it belongs to another for as long as its lease lasts"
    await age(bench.url, "jobs", "next_check_at", 31)
    assert await bench.pg.sweep_store.send_due_checks(limit=10, rearm_seconds=60.0) == 1
    await bench.processor.run_once(wait_seconds=1)
    assert (await bench.state(job)).state is State.STARTING


async def test_a_lost_message_delays_a_job_by_one_round_only(bench: Bench) -> None:
    [job] = await bench.submit()
    await fetch(bench.url, "DELETE FROM messages")
    eager = bench.make(admit_seconds=0.0)
    assert await eager.run_once(wait_seconds=0.0) == 1
    assert (await bench.state(job)).state is State.STARTING


async def test_one_message_is_enough_for_many_jobs_and_processors_share_them(bench: Bench) -> None:
    made = [new_job(SPEC, owner="ann", default_namespace="default", now=dt.datetime.now(dt.UTC)) for _ in range(25)]
    await bench.pg.submit_store.insert_jobs([ports.Submission(job=job, spec=encoded) for job, encoded in made])
    assert await bench.messages() == 1
    for expected in (10, 20, 25):
        await bench.make(batch_size=10).run_once(wait_seconds=1)
        assert len(bench.cluster.history.creates) == expected
    assert await bench.messages() == 0


async def test_a_refusal_frees_a_place_for_the_next(bench: Bench) -> None:
    [bad] = await bench.submit()
    [good] = await bench.submit()
    bench.cluster.fail_next("create", ClusterRefused("policy says no", reason="AdmissionDenied", status=403))
    limited = bench.make(limits=AdmissionLimits(total=1))
    await limited.run_once(wait_seconds=1)
    assert (await bench.state(bad)).state is State.FAILED
    await limited.run_once(wait_seconds=1)
    assert (await bench.state(good)).state is State.STARTING


async def test_an_effect_that_begins_after_the_admission_has_run_out_is_left_to_others(bench: Bench) -> None:
    [job] = await bench.submit()
    await bench.make(lease_seconds=0.0).run_once(wait_seconds=1)
    assert bench.cluster.history.creates == {}
    await bench.processor.run_once(wait_seconds=1)
    assert (await bench.state(job)).state is State.STARTING


async def test_a_cancelled_job_that_waits_ends_without_a_request_to_the_cluster(bench: Bench) -> None:
    [job] = await bench.submit()
    limited = bench.make(limits=AdmissionLimits(total=10, queues={"default": 0}))
    await limited.run_once(wait_seconds=1)
    await bench.pg.submit_store.request_cancel(job.id, by="ann", reason="")
    bench.cluster.fail_next("find", DatabaseUnavailable("nobody may ask"))
    await limited.run_once(wait_seconds=1)
    assert (await bench.state(job)).state is State.CANCELLED


async def test_a_processor_that_is_stopped_in_a_batch_gives_it_back(bench: Bench) -> None:
    await bench.submit()
    bench.cluster.faults.add("create", _slow(), times=1)
    task = asyncio.create_task(bench.processor.run_once(wait_seconds=1))
    await _until_admitted(bench)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert await bench.make().run_once(wait_seconds=1) == 2, "the message comes back, and a check for the admitted job"
    [job] = await bench.pg.job_reader.list_jobs(ports.JobFilter())
    assert job.state is State.STARTING
    assert set(bench.cluster.history.creates.values()) == {1}


async def test_a_row_that_a_newer_program_wrote_stops_neither_the_batch_nor_the_component(bench: Bench) -> None:
    strange, plain = await bench.submit(2)
    unknown = '{"retry": {"rules": [{"action": "from_the_future"}]}}'
    await fetch(bench.url, "UPDATE jobs SET policy = $2::jsonb WHERE id = $1", strange.id, unknown)
    await bench.processor.run_once(wait_seconds=1)
    assert (await bench.state(plain)).state is State.STARTING
    await bench.pg.queue.send([Outgoing(message=Check(job_id=strange.id))])
    picky = bench.make(max_deliveries=1)
    await picky.run_once(wait_seconds=1)
    [error] = await bench.dead_letters()
    assert "its rows cannot be read" in error
    assert "from_the_future" in error


def _by_builder(job: Job) -> Decision:
    builder = DecisionBuilder(job=job, attempts={}, now=job.due_at, rules=Rules())
    builder.move(State.RUNNING, attempt=1, reason="Started")
    return builder.build()


def _by_hand(job: Job) -> Decision:
    skipped = Transition(
        job_id=job.id, version=2, attempt=1, from_state=State.QUEUED, to_state=State.RUNNING, at=job.due_at
    )
    after = msgspec.structs.replace(job, state=State.RUNNING, version=2, attempt=1)
    return Decision(job=after, transitions=(skipped,))


@pytest.mark.parametrize(
    ("decide_wrongly", "says"),
    [
        (_by_builder, "IllegalStep('a job that is queued cannot become running')"),
        (_by_hand, "is queued and cannot become running in one step"),
    ],
)
async def test_an_illegal_step_is_a_bug_that_is_logged_retried_and_dead_lettered(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, decide_wrongly: Callable[[Job], Decision], says: str
) -> None:
    wrong, good = await bench.submit(2)
    decide = lifecycle.decide

    def buggy(job: Job, *rest: Any, **more: Any) -> Decision:
        return decide_wrongly(job) if job.id == wrong.id else decide(job, *rest, **more)

    monkeypatch.setattr(lifecycle, "decide", buggy)
    await bench.pg.queue.send([Outgoing(message=Check(job_id=wrong.id))])
    with structlog.testing.capture_logs() as logs:
        for _ in range(5):
            await bench.processor.run_once(wait_seconds=0.2)
            await bench.make_due()
    assert (await bench.state(good)).state is State.STARTING
    assert (await bench.state(wrong)).state is State.QUEUED
    errors = await bench.dead_letters()
    assert errors
    assert all(says in error for error in errors)
    assert await bench.messages() == 0
    assert sum(entry.get("action") == "job.decide" for entry in logs) >= 3, "each try is logged"


@pytest.mark.parametrize("restored", [True, False], ids=["restored", "stale"])
async def test_a_list_with_lower_versions_is_settled_by_a_look(bench: Bench, restored: bool) -> None:
    """After a restore of the etcd the list is right; an old message of a list is not. Only the cluster can tell."""
    [job] = await bench.submit(annotations={"kjr.test/run": "forever"})
    await bench.processor.run_once(wait_seconds=1)
    [attempt] = await bench.pg.job_reader.list_attempts(job.id)
    uid = attempt.cluster_uid or ""
    bench.cluster.advance(3)
    there = await bench.cluster.look(attempt.namespace, attempt.cluster_name, cluster_uid=uid)
    assert there.job is not None
    known = msgspec.structs.replace(there.job, resource_version=1_000_000 if restored else there.job.resource_version)
    await bench.pg.queue.send([Outgoing(message=Observed(job_id=job.id, attempt=1, seen=known))])
    await bench.processor.run_once(wait_seconds=1)
    done = (Condition(type="Failed", reason="Old"),)
    old = msgspec.structs.replace(there.job, resource_version=1, conditions=() if restored else done)
    await bench.pg.queue.send([Outgoing(message=Observed(job_id=job.id, attempt=1, seen=old, listed=True))])
    if restored:  # the API server that was restored does not answer yet
        bench.cluster.fail_next("look", TemporaryError("away", delay_seconds=0.0))
        await bench.processor.run_once(wait_seconds=1)
    await bench.processor.run_once(wait_seconds=1)
    [after] = await bench.pg.job_reader.list_attempts(job.id)
    assert after.facts.job is not None
    assert after.facts.job.resource_version == there.job.resource_version
    assert after.facts.job.conditions == there.job.conditions
    assert not (await bench.state(job)).terminal
