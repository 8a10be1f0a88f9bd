"""Creates and their leases: none is sent too late, and a job ends only when no create of it can arrive any more.

The clusters are the real Kubernetes client on a slow API server, and the simulated cluster.
"""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
import time
from collections.abc import AsyncIterator, Callable
from typing import Any
from uuid import UUID

import pytest
import pytest_asyncio
from aiohttp import web

from kube_job_runner import ports
from kube_job_runner.adapters import postgres
from kube_job_runner.adapters.kubernetes.cluster import KubernetesCluster
from kube_job_runner.adapters.simulated import Fault, SimulatedCluster, SteppedClock
from kube_job_runner.domain.decide.ruleset import Rules
from kube_job_runner.domain.errors import DatabaseUnavailable
from kube_job_runner.domain.facts import Condition, ContainerFacts, JobFacts, PodFacts, Seen
from kube_job_runner.domain.job import Job, new_job
from kube_job_runner.domain.limits import AdmissionLimits
from kube_job_runner.domain.messages import Check, Observed, Outgoing
from kube_job_runner.domain.spec.model import JobSpec
from kube_job_runner.domain.states import State
from kube_job_runner.services.pipeline.processor import Processor
from kube_job_runner.settings.groups import BatchSettings
from tests.support.api_answers import Call
from tests.support.api_answers import Fault as ServerFault
from tests.support.clocks import SystemClock
from tests.support.fake_apiserver import FakeApiServer
from tests.support.kubernetes import make_cluster
from tests.support.postgres import age, fetch

pytestmark = pytest.mark.asyncio
RUNNING = ContainerFacts(name="main", state="running")


class Bench:
    """Processors on one database and one API server whose answers may be slow."""

    def __init__(self, pg: postgres.Postgres, url: str, server: FakeApiServer) -> None:
        self.pg = pg
        self.url = url
        self.server = server
        self.clusters: list[KubernetesCluster] = []

    def processor(self, *, cluster: Any = None, lease_seconds: float = 30.0, **client: Any) -> Processor:
        if cluster is None:
            cluster = make_cluster(self.server.url, **client)
            self.clusters.append(cluster)
        return Processor(
            store=self.pg.process_store,
            queue=self.pg.queue,
            cluster=cluster,
            clock=SystemClock(),
            rules=Rules(),
            limits=AdmissionLimits(),
            settings=BatchSettings(lease_seconds=lease_seconds),
        )

    async def submit(self, count: int = 1) -> list[Job]:
        spec = JobSpec(image="busybox:1", stop_grace_seconds=7, annotations={"kjr.test/run": "forever"})
        made = [
            new_job(spec, owner="ann", default_namespace="default", now=dt.datetime.now(dt.UTC)) for _ in range(count)
        ]
        await self.pg.submit_store.insert_jobs([ports.Submission(job=job, spec=encoded) for job, encoded in made])
        return [job for job, _ in made]

    async def job(self, job: Job) -> Job:
        found = await self.pg.job_reader.get_job(job.id)
        assert found is not None
        return found

    async def cancel(self, job: Job) -> None:
        await self.pg.submit_store.request_cancel(job.id, by="ann", reason="")

    async def check(self, job: Job) -> None:
        await self.pg.queue.send([Outgoing(message=Check(job_id=job.id))])

    async def see(self, job: Job, *seen: Seen) -> None:
        await self.pg.queue.send([Outgoing(message=Observed(job_id=job.id, attempt=1, seen=each)) for each in seen])

    async def past(self, seconds: float) -> None:
        """Let the time of every create lease pass."""
        await age(self.url, "jobs", "create_until", seconds)

    async def until_admitted(self) -> None:
        await _until(lambda: self.server.of("create"))

    async def work(self, processor: Processor, *, rounds: int = 6) -> None:
        for _ in range(rounds):
            await fetch(self.url, "UPDATE messages SET available_at = now() WHERE lease_token IS NULL")
            await processor.run_once(wait_seconds=0.1)

    def uid(self) -> str:
        [found] = [item for (kind, _, _), item in self.server.objects.items() if kind == "jobs"]
        return str(found["metadata"]["uid"])


@pytest_asyncio.fixture
async def bench(database_url: str) -> AsyncIterator[Bench]:
    pg = await postgres.connect(database_url, pool_size=8)
    async with FakeApiServer() as server:
        bench = Bench(pg, database_url, server)
        yield bench
        for cluster in bench.clusters:
            await cluster.close()
    await pg.close()


async def _until(condition: Callable[[], Any]) -> None:
    async with asyncio.timeout(20):
        while not condition():  # noqa: ASYNC110  the condition is another party's state
            await asyncio.sleep(0.005)


def slow(seconds: float, arrivals: list[float]) -> ServerFault:
    """Answer after a while, and note when the request came."""

    async def fault(server: FakeApiServer, call: Call, request: web.Request) -> web.StreamResponse:
        arrivals.append(time.monotonic())
        await asyncio.sleep(seconds)
        return await server.normally(call, request)

    return fault


class Gate:
    """Carries a request out when it is opened, whether its client still waits or not."""

    def __init__(self) -> None:
        self.opened = asyncio.Event()
        self.done = asyncio.Event()

    async def __call__(self, server: FakeApiServer, call: Call, request: web.Request) -> web.StreamResponse:
        await self.opened.wait()
        response = await server.normally(call, request)
        self.done.set()
        return response

    async def open(self) -> None:
        self.opened.set()
        async with asyncio.timeout(10):
            await self.done.wait()


# --- What is sent ---


async def test_no_create_is_sent_after_the_lease_that_allowed_it(bench: Bench) -> None:
    """A client with one slot and a server that takes 0.5 s: of 8 creates, few fit into a lease of 2 s."""
    jobs = await bench.submit(8)
    arrivals: list[float] = []
    bench.server.fail("create", *[slow(0.5, arrivals)] * 200)
    processor = bench.processor(lease_seconds=2.0, concurrency=1)
    began = time.monotonic()
    await processor.run_once(wait_seconds=1)
    assert 0 < len(arrivals) < 5
    assert max(arrivals) - began < 2.0
    waiting = [job for job in [await bench.job(one) for one in jobs] if job.state is State.QUEUED]
    assert waiting
    for job in waiting[1:]:  # one may have been sent, and have had no answer in time
        assert job.create_until is None, "nothing of it is on its way"
        assert job.explanation == "", "it waits for nothing but its turn"
    for _ in range(10):
        await fetch(bench.url, "UPDATE jobs SET next_check_at = now() WHERE state = 'queued'")
        await bench.pg.sweep_store.send_due_checks(limit=100, rearm_seconds=60)
        await processor.run_once(wait_seconds=0.1)
    assert {(await bench.job(job)).state for job in jobs} == {State.STARTING}
    assert len(bench.server.objects) == 8
    assert await fetch(bench.url, "SELECT 1 FROM dead_letters") == []


async def test_the_server_is_told_how_long_a_create_may_take(bench: Bench) -> None:
    await bench.submit()
    await bench.processor(lease_seconds=10.0).run_once(wait_seconds=1)
    [call] = bench.server.of("create")
    assert call.query["timeout"].endswith("s")
    assert 4.0 < float(call.query["timeout"][:-1]) <= 5.0, "the client's own time for a request is 5 s here"


async def test_nothing_is_sent_while_the_credentials_are_renewed_past_the_lease(bench: Bench) -> None:
    [job] = await bench.submit()

    class Slow:
        """A credential plugin that takes longer than the lease."""

        async def get(self) -> Any:
            await asyncio.sleep(30)

        async def renew(self, credential: Any) -> None:
            raise AssertionError("nothing was sent")

    await bench.processor(lease_seconds=0.3, source=Slow()).run_once(wait_seconds=1)
    assert bench.server.calls == []
    assert (await bench.job(job)).create_until is None


async def test_a_delete_is_not_sent_after_the_lease_either(bench: Bench) -> None:
    [job] = await bench.submit()
    processor = bench.processor()
    await processor.run_once(wait_seconds=1)
    await bench.cancel(job)
    await processor.run_once(wait_seconds=1)
    await bench.processor(lease_seconds=0.0).run_once(wait_seconds=1)
    assert bench.server.of("delete") == []
    await fetch(bench.url, "UPDATE messages SET available_at = now()")
    await processor.run_once(wait_seconds=1)
    assert len(bench.server.of("delete")) == 1


# --- What a cancel waits for ---


async def test_a_cancel_ends_after_the_answer_of_the_create_and_waits_for_no_time(bench: Bench) -> None:
    [job] = await bench.submit()
    gate = Gate()
    bench.server.fail("create", gate)
    creating = asyncio.create_task(bench.processor().run_once(wait_seconds=1))
    await bench.until_admitted()
    await bench.cancel(job)
    other = bench.processor()
    await bench.work(other)
    assert (await bench.job(job)).state is State.QUEUED, "a create may be on its way"
    await gate.open()
    await creating
    await bench.work(other)
    stopping = await bench.job(job)
    assert (stopping.state, stopping.create_until) == (State.STOPPING, None)
    assert bench.server.objects == {}
    [attempt] = await bench.pg.job_reader.list_attempts(job.id)
    await bench.see(job, JobFacts(uid=attempt.cluster_uid or "", resource_version=9_999, gone=True))
    await bench.work(other)
    await age(bench.url, "attempts", "gone_at", 10)
    await bench.check(job)
    await bench.work(other)
    assert (await bench.job(job)).state is State.CANCELLED


async def test_a_cancel_ends_at_once_when_the_create_was_refused_for_now(bench: Bench) -> None:
    [job] = await bench.submit()
    gate = Gate()

    async def full(server: FakeApiServer, call: Call, request: web.Request) -> web.StreamResponse:
        await gate.opened.wait()
        body = {"kind": "Status", "reason": "Forbidden", "message": "exceeded quota: jobs, used: 1, limited: 1"}
        return web.json_response(body, status=403)

    bench.server.fail("create", full)
    creating = asyncio.create_task(bench.processor().run_once(wait_seconds=1))
    await bench.until_admitted()
    await bench.cancel(job)
    gate.opened.set()
    await creating
    await bench.work(bench.processor())
    assert (await bench.job(job)).state is State.CANCELLED
    assert len(bench.server.of("create")) == 1


async def test_a_create_that_arrives_after_its_client_gave_up_is_found_before_the_cancel_ends(bench: Bench) -> None:
    """The server takes longer than the lease; nobody knows whether it goes on. `cancelled` waits until it no longer can."""
    [job] = await bench.submit()
    gate = Gate()
    bench.server.fail("create", gate)
    await bench.processor(lease_seconds=3.0).run_once(wait_seconds=1)
    assert (await bench.job(job)).create_until is not None
    await bench.cancel(job)
    other = bench.processor()
    for seconds in (0, 5, 20):
        await bench.past(seconds)
        await bench.check(job)
        await bench.work(other)
        assert (await bench.job(job)).state is State.QUEUED
    await gate.open()
    uid = bench.uid()
    await bench.past(10)
    await bench.check(job)
    await bench.work(other)
    assert (await bench.job(job)).state is State.STOPPING
    [call] = bench.server.of("delete")
    assert call.json["preconditions"] == {"uid": uid}


async def test_a_create_that_never_arrives_holds_a_cancel_up_only_as_long_as_it_might(bench: Bench) -> None:
    [job] = await bench.submit()
    gate = Gate()
    bench.server.fail("create", gate)
    await bench.processor(lease_seconds=3.0).run_once(wait_seconds=1)
    await bench.cancel(job)
    await bench.past(Rules().create_settle_seconds + 1)
    await bench.check(job)
    await bench.work(bench.processor())
    assert (await bench.job(job)).state is State.CANCELLED


async def test_a_job_whose_creator_died_is_cancelled_as_soon_as_its_cluster_job_is_seen(bench: Bench) -> None:
    [job] = await bench.submit()
    gate = Gate()
    bench.server.fail("create", gate)
    creating = asyncio.create_task(bench.processor().run_once(wait_seconds=1))
    await bench.until_admitted()
    await gate.open()
    creating.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await creating
    await fetch(bench.url, "DELETE FROM messages")  # it could not even leave the job to others
    await bench.cancel(job)
    await fetch(bench.url, "DELETE FROM messages")  # and the message of the cancel is lost
    await bench.see(job, JobFacts(uid=bench.uid(), resource_version=5))
    await bench.work(bench.processor(), rounds=1)
    assert (await bench.job(job)).state is State.STOPPING


async def test_a_second_create_of_the_name_keeps_the_stop_open_and_is_removed(bench: Bench) -> None:
    """The first create had no answer, the second made the cluster job, and the first arrives after that one was removed."""
    [job] = await bench.submit()
    gate = Gate()
    bench.server.fail("create", gate)
    await bench.processor(lease_seconds=3.0).run_once(wait_seconds=1)
    processor = bench.processor()
    await bench.check(job)
    await bench.work(processor)
    first = bench.uid()
    assert (await bench.job(job)).create_until is not None, "the first create may still arrive"
    await bench.cancel(job)
    await bench.work(processor)
    assert bench.server.objects == {}
    await bench.see(job, JobFacts(uid=first, resource_version=9_999, gone=True))
    await bench.work(processor)
    await age(bench.url, "attempts", "gone_at", 10)
    await bench.check(job)
    await bench.work(processor)
    assert (await bench.job(job)).state is State.STOPPING
    await gate.open()
    second = bench.uid()
    assert second != first
    await bench.past(60)
    await bench.check(job)
    await bench.work(processor)
    assert bench.server.objects == {}, "found, and removed by its uid"
    for _ in range(2):  # it can no longer arrive; then the pods are looked for
        await bench.check(job)
        await bench.work(processor)
    assert (await bench.job(job)).state is State.CANCELLED


async def test_a_finished_cluster_job_stays_until_no_create_of_its_name_can_arrive(bench: Bench) -> None:
    """As long as it is there, a late create is answered with 409 AlreadyExists."""
    [job] = await bench.submit()
    gate = Gate()
    bench.server.fail("create", gate)
    await bench.processor(lease_seconds=3.0).run_once(wait_seconds=1)
    processor = bench.processor()
    await bench.check(job)
    await bench.work(processor)
    uid = bench.uid()
    ended = ContainerFacts(name="main", state="terminated", reason="Completed", exit_code=0)
    pod = PodFacts(uid="p", name="p", job_uid=uid, resource_version=9_999, phase="Succeeded", containers=(ended,))
    done = JobFacts(uid=uid, resource_version=9_999, conditions=(Condition(type="Complete", reason="Completed"),))
    await bench.see(job, pod, done)
    await bench.work(processor)
    assert (await bench.job(job)).state is State.SUCCEEDED
    await fetch(bench.url, "UPDATE attempts SET decided_at = decided_at - interval '1 hour'")
    await bench.check(job)
    await bench.work(processor)
    assert bench.server.of("delete") == []
    await gate.open()
    assert bench.uid() == uid
    await bench.past(60)
    await bench.check(job)
    await bench.work(processor)
    assert len(bench.server.of("delete")) == 1


# --- Who creates ---


class Lost:
    """A store whose next commits are done, and whose answers are lost."""

    def __init__(self, store: ports.ProcessStore) -> None:
        self._store = store
        self.lose = 0
        self.load = store.load
        self.admit = store.admit
        self.bind_cluster = store.bind_cluster

    async def commit(self, changes: Any, *, receipts: Any) -> set[UUID]:
        applied = await self._store.commit(changes, receipts=receipts)
        if self.lose:
            self.lose -= 1
            raise DatabaseUnavailable("the connection broke after the commit", delay_seconds=0.0)
        return applied


async def test_a_create_whose_commit_lost_its_answer_is_made_once(bench: Bench) -> None:
    [job] = await bench.submit()
    processor = bench.processor()
    lost = Lost(bench.pg.process_store)
    lost.lose = 1
    processor._committer._store = lost
    await processor.run_once(wait_seconds=1)
    await bench.work(bench.processor())
    assert (await bench.job(job)).state is State.STARTING
    assert len(bench.server.of("create")) == 1


async def test_a_turn_whose_commit_lost_its_answer_creates_nothing_until_it_is_taken_again(bench: Bench) -> None:
    [job] = await bench.submit()
    await bench.pg.process_store.admit(AdmissionLimits(), limit=10, lease_seconds=0.1)
    await fetch(bench.url, "DELETE FROM messages")
    await bench.check(job)
    processor = bench.processor()
    lost = Lost(bench.pg.process_store)
    lost.lose = 1
    processor._committer._store = lost
    with contextlib.suppress(DatabaseUnavailable):
        await processor.run_once(wait_seconds=1)
    assert bench.server.of("create") == []
    await bench.work(bench.processor())
    assert (await bench.job(job)).state is State.STARTING
    assert len(bench.server.of("create")) == 1


async def test_who_creates_without_an_admission_records_it_first(bench: Bench) -> None:
    """A check of an admitted job leads to a create; a cancel meanwhile knows of it, also when the admission is long over."""
    [job] = await bench.submit()
    await bench.pg.process_store.admit(AdmissionLimits(), limit=10, lease_seconds=0.1)
    await bench.past(3600)
    await fetch(bench.url, "DELETE FROM messages")
    await bench.check(job)
    gate = Gate()
    bench.server.fail("create", gate)
    creating = asyncio.create_task(bench.processor().run_once(wait_seconds=1))
    await bench.until_admitted()
    await bench.cancel(job)
    other = bench.processor()
    await bench.work(other)
    assert (await bench.job(job)).state is State.QUEUED
    await gate.open()
    await creating
    await bench.work(other)
    assert (await bench.job(job)).state is State.STOPPING


async def test_a_processor_that_was_suspended_in_its_create_removes_what_it_made_too_late(bench: Bench) -> None:
    """Its name was used and removed meanwhile: only the uid tells the two cluster jobs apart."""
    [job] = await bench.submit()
    cluster = SimulatedCluster(clock=SteppedClock())
    cluster.faults.add("create", Fault(delay_seconds=100.0), times=1)
    suspended = asyncio.create_task(bench.processor(cluster=cluster).run_once(wait_seconds=1))
    await _until(lambda: not cluster.faults._waiting["create"])
    processor = bench.processor(cluster=cluster)
    await bench.check(job)
    await bench.work(processor, rounds=1)
    [first] = cluster._world.by_uid
    await bench.cancel(job)
    await bench.work(processor, rounds=2)
    cluster.advance(50)
    assert cluster.history.alive_now == 0
    cluster.advance(50)
    await suspended
    [second] = [uid for uid in cluster._world.by_uid if uid != first]
    await bench.work(processor, rounds=2)
    assert set(cluster.history.deletes) == {first, second}


async def test_a_second_cluster_job_of_an_attempt_is_removed_by_its_uid_as_soon_as_it_is_seen(bench: Bench) -> None:
    [job] = await bench.submit()
    processor = bench.processor()
    await processor.run_once(wait_seconds=1)
    [attempt] = await bench.pg.job_reader.list_attempts(job.id)
    pod = PodFacts(uid="p2", name="pod-2", job_uid="second", resource_version=5, phase="Running", containers=(RUNNING,))
    await bench.see(job, JobFacts(uid="second", resource_version=5), pod)
    await bench.work(processor, rounds=2)
    told = [(call.resource, call.name, call.json["preconditions"]["uid"]) for call in bench.server.of("delete")]
    assert ("jobs", attempt.cluster_name, "second") in told
    assert ("pods", "pod-2", "p2") in told
    assert [call.json.get("gracePeriodSeconds") for call in bench.server.of("delete") if call.resource == "pods"] == [7]
    assert bench.uid() == attempt.cluster_uid, "the recorded one stays"
    assert (await bench.job(job)).state is State.STARTING
    facts = (await bench.pg.job_reader.list_attempts(job.id))[0].facts
    assert facts.pods == (), "it does not speak for the attempt"
