"""Outages of the API server and of single watches, in a simulation: what happens meanwhile is told as it was.

The kubelets go on while nobody can look. The real processors, watchers and sweeper work on a store in memory.
"""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
from collections.abc import AsyncIterator, Coroutine
from typing import Any

import pytest

from kube_job_runner.adapters.simulated import Fault, SimulatedCluster
from kube_job_runner.adapters.simulated.script import Script
from kube_job_runner.adapters.simulated.simulated_job import SimulatedJob
from kube_job_runner.adapters.simulated.simulated_time import EPOCH
from kube_job_runner.domain.decide.ruleset import Rules
from kube_job_runner.domain.errors import TemporaryError
from kube_job_runner.domain.job import Job, new_job
from kube_job_runner.domain.limits import AdmissionLimits
from kube_job_runner.domain.spec.model import JobSpec, Timeouts
from kube_job_runner.domain.states import State
from kube_job_runner.ports import Submission
from kube_job_runner.services.pipeline.processor import Processor
from kube_job_runner.services.sweep import Sweeper
from kube_job_runner.settings.groups import BatchSettings, RetentionSettings
from tests.support import simulation
from tests.support.clocks import LoopClock
from tests.support.memory import MemoryStore

pytestmark = [pytest.mark.asyncio, pytest.mark.looptime(noop_cycles=0)]

RULES = Rules(log_deadline_seconds=3.0, log_stop_bound_seconds=0.0, log_recheck_seconds=0.5)


class VirtualClock(LoopClock):
    """A time of day that follows the event loop, whose time is virtual."""

    def now(self) -> dt.datetime:
        return EPOCH + dt.timedelta(seconds=self.monotonic())


class Stage:
    """Processors, watchers and a sweeper on a simulated cluster that may be out of reach."""

    def __init__(self, *, rules: Rules = RULES) -> None:
        self.clock = VirtualClock()
        self.cluster = SimulatedCluster(clock=self.clock, step_seconds=0.02)
        self.store = MemoryStore(self.clock, seed=1)
        self.rules = rules
        self.asked: list[str] = []
        self.slow_seconds = 0.0
        self._away = False
        self.cluster.faults.choose = self._fault

    def _fault(self, operation: str) -> Fault | None:
        self.asked.append(operation)
        if self._away:
            error = TemporaryError("cannot connect", delay_seconds=0.2, reason="ClusterUnavailable")
            return Fault(error=error, delay_seconds=0.01)
        return Fault(delay_seconds=self.slow_seconds)

    def down(self) -> None:
        """Let the API server be away for everybody."""
        self._away = True
        self.cluster.job_feed.hold()
        self.cluster.pod_feed.hold()

    def up(self) -> None:
        self._away = False
        self.cluster.job_feed.release()
        self.cluster.pod_feed.release()

    async def submit(self, script: dict[str, str], **spec: Any) -> Job:
        annotations = {f"kjr.test/{key}": value for key, value in script.items()}
        wanted = JobSpec(image="tool:1", command=("run",), annotations=annotations, **spec)
        job, encoded = new_job(wanted, owner="ann", default_namespace="default", now=self.clock.now())
        await self.store.insert_jobs([Submission(job=job, spec=encoded)])
        return job

    def now(self, job: Job) -> Job:
        return self.store.jobs[job.id]

    def simulated(self, job: Job) -> SimulatedJob:
        return next(sim for sim in self.cluster._world.by_uid.values() if sim.job.job_id == job.id)

    @contextlib.asynccontextmanager
    async def running(self, *, watching: bool = True) -> AsyncIterator[None]:
        self.cluster.start()
        watchers = self._watchers() if watching else []
        work = [*watchers, self._process(), self._process(), self._sweep()]
        async with simulation.running(self.cluster, work):
            yield

    def watch(self) -> list[asyncio.Task[None]]:
        """Start watchers that a test stops."""
        return [asyncio.create_task(watcher) for watcher in self._watchers()]

    def _watchers(self) -> list[Coroutine[Any, Any, None]]:
        found = simulation.observers(self.cluster, store=self.store, queue=self.store, clock=self.clock)
        return [watcher.run() for watcher in found]

    async def _process(self) -> None:
        processor = Processor(
            store=self.store,
            queue=self.store,
            cluster=self.cluster,
            clock=self.clock,
            rules=self.rules,
            limits=AdmissionLimits(),
            settings=BatchSettings(lease_seconds=30.0),
            watches=self.store,
        )
        while True:
            await processor.run_once()

    async def _sweep(self) -> None:
        sweeper = Sweeper(store=self.store, logs=self.store, clock=self.clock, settings=RetentionSettings())
        while True:
            await sweeper.run_once()
            await asyncio.sleep(0.5)


async def test_a_job_that_starts_and_succeeds_in_an_outage_has_succeeded() -> None:
    stage = Stage()
    async with stage.running():
        job = await stage.submit({"start": "20s", "run": "30s"}, timeouts=Timeouts(start_seconds=60))
        await asyncio.sleep(10)
        stage.down()
        await asyncio.sleep(300)
        waits = stage.now(job)
        assert (waits.state, waits.attempt) == (State.STARTING, 1)
        assert waits.explanation.startswith("The cluster cannot be asked now")
        stage.up()
        await asyncio.sleep(20)
    assert (stage.now(job).state, stage.now(job).exit_code) == (State.SUCCEEDED, 0)
    assert (stage.store.anomalies, stage.store.dead_letters) == ([], [])


async def test_an_image_that_arrives_in_an_outage_runs() -> None:
    stage = Stage()
    async with stage.running():
        job = await stage.submit({"mode": "imagepull", "image-error": "manifest unknown"})
        await asyncio.sleep(10)
        stage.down()
        sim = stage.simulated(job)
        sim.script = Script(run_seconds=None)
        stage.cluster._world._start(sim)
        await asyncio.sleep(300)
        assert stage.now(job).state is State.STARTING
        stage.up()
        await asyncio.sleep(20)
        assert stage.now(job).state is State.RUNNING
        assert sim.pod is not None
        assert not sim.pod.deleting
        stage.cluster.finish(sim.facts.uid)
        await asyncio.sleep(20)
    assert stage.now(job).state is State.SUCCEEDED


@pytest.mark.parametrize("run", ["1s", "30s"])
async def test_with_the_watch_of_pods_away_an_exit_code_is_still_the_programs(run: str) -> None:
    stage = Stage()
    async with stage.running():
        if run == "1s":
            stage.cluster.pod_feed.hold()
        job = await stage.submit({"run": run, "exit-code": "3"})
        await asyncio.sleep(10)
        stage.cluster.pod_feed.hold()
        await asyncio.sleep(90)
        ended = stage.now(job)
    assert (ended.state, ended.reason, ended.exit_code, ended.attempt) == (State.FAILED, "ApplicationExit", 3, 1)


async def test_with_the_watch_of_pods_away_a_cancel_ends_soon_and_nothing_false_is_told() -> None:
    stage = Stage()
    async with stage.running():
        job = await stage.submit({"run": "forever"})
        await asyncio.sleep(10)
        stage.cluster.pod_feed.hold()
        await stage.store.request_cancel(job.id, by="ann", reason="")
        await asyncio.sleep(15)
        ended = stage.now(job)
    assert ended.state is State.CANCELLED
    assert stage.store.anomalies == []


async def test_a_look_is_asked_for_once_and_not_on_the_normal_path() -> None:
    stage = Stage()
    async with stage.running():
        await stage.submit({"run": "5s"})
        await stage.submit({"run": "5s", "exit-code": "3"})
        late = await stage.submit({"mode": "stuck"}, timeouts=Timeouts(start_seconds=30))
        cancelled = await stage.submit({"run": "forever"})
        await asyncio.sleep(20)
        await stage.store.request_cancel(cancelled.id, by="ann", reason="")
        await asyncio.sleep(5)
        assert stage.asked.count("look") == 0
        await asyncio.sleep(60)
    assert stage.now(late).reason == "StartTimeout"
    assert stage.asked.count("look") == 1


async def test_a_slow_api_server_delays_a_verdict_and_loses_nothing() -> None:
    stage = Stage()
    stage.slow_seconds = 2.0
    async with stage.running():
        jobs = [
            await stage.submit({"mode": "stuck"}, timeouts=Timeouts(start_seconds=30), name=f"late-{number}")
            for number in range(60)
        ]
        await asyncio.sleep(150)
    assert {(stage.now(job).state, stage.now(job).reason) for job in jobs} == {(State.FAILED, "StartTimeout")}
    assert stage.cluster.history.violations() == []
    assert set(stage.cluster.history.creates.values()) == {1}
    assert stage.store.dead_letters == []


async def test_an_image_that_a_kubelet_could_not_report_in_an_outage_gets_the_rest_of_its_grace() -> None:
    """A kubelet that was cut off too tells what happened some seconds after the API server is back."""
    stage = Stage()
    async with stage.running():
        job = await stage.submit({"mode": "imagepull", "image-error": "manifest unknown"})
        await asyncio.sleep(30)
        stage.down()
        await asyncio.sleep(300)
        stage.up()
        await asyncio.sleep(10)
        assert stage.now(job).state is State.STARTING
        sim = stage.simulated(job)
        sim.script = Script(run_seconds=1.0)
        stage.cluster._world._start(sim)
        await asyncio.sleep(20)
    assert stage.now(job).state is State.SUCCEEDED


async def test_what_does_not_get_better_fails_after_the_rest_of_its_grace() -> None:
    stage = Stage()
    async with stage.running():
        job = await stage.submit({"mode": "imagepull", "image-error": "manifest unknown"})
        await asyncio.sleep(30)
        stage.down()
        await asyncio.sleep(300)
        stage.up()
        await asyncio.sleep(60)
    assert (stage.now(job).state, stage.now(job).reason) == (State.FAILED, "ImageNotFound")


async def test_a_watch_that_flaps_does_not_keep_a_job_for_ever() -> None:
    stage = Stage()
    async with stage.running():
        job = await stage.submit({"mode": "stuck"}, timeouts=Timeouts(start_seconds=60))
        began = stage.clock.monotonic()
        while not stage.now(job).terminal:
            stage.cluster.pod_feed.hold()
            await asyncio.sleep(2)
            stage.cluster.pod_feed.release()
            await asyncio.sleep(8)
            assert stage.clock.monotonic() - began < 150
    assert stage.now(job).reason == "StartTimeout"
    assert stage.clock.monotonic() - began > 65, "the time in which nobody watched does not count"


async def test_watchers_that_were_dead_for_minutes_take_no_grace_from_a_job() -> None:
    stage = Stage()
    async with stage.running(watching=False):
        job = await stage.submit({"mode": "stuck"}, timeouts=Timeouts(start_seconds=60))
        first = stage.watch()
        await asyncio.sleep(20)
        await simulation.stopped(first)
        await asyncio.sleep(300)
        assert stage.now(job).state is State.STARTING
        second = stage.watch()
        await asyncio.sleep(30)
        assert stage.now(job).state is State.STARTING
        await asyncio.sleep(60)
        await simulation.stopped(second)
    assert (stage.now(job).state, stage.now(job).reason) == (State.FAILED, "StartTimeout")


async def test_a_pod_that_vanished_between_two_watchers_is_gone_with_the_next_list() -> None:
    """Its "gone" was told to a watcher that had died, and the Job controller tells nothing yet."""
    stage = Stage()
    async with stage.running(watching=False):
        job = await stage.submit({"run": "forever"})
        first = stage.watch()
        await asyncio.sleep(10)
        await simulation.stopped(first)
        sim = stage.simulated(job)
        stage.cluster.remove_pod(sim.facts.uid)
        await asyncio.sleep(40)
        second = stage.watch()
        await asyncio.sleep(2)
        [attempt] = stage.store.attempts[job.id].values()
        assert [pod.gone for pod in attempt.facts.pods] == [True]
        await simulation.stopped(second)


async def test_a_create_whose_answer_was_lost_long_ago_still_has_its_start_timeout() -> None:
    """When the answer is known at last, the deadline has passed: the look is made with the next check, which must come."""
    stage = Stage()
    lost = TemporaryError("no answer", delay_seconds=0.2, reason="ClusterUnavailable")
    stage.cluster.faults.choose = None
    stage.cluster.faults.add("create", Fault(error=lost, after=True), times=1)
    async with stage.running():
        job = await stage.submit({"mode": "stuck"}, timeouts=Timeouts(start_seconds=60))
        await asyncio.sleep(0.15)
        stage.cluster.faults.choose = stage._fault
        stage.down()
        await asyncio.sleep(300)
        assert stage.now(job).state is State.QUEUED
        stage.up()
        await asyncio.sleep(120)
    assert (stage.now(job).state, stage.now(job).reason) == (State.FAILED, "StartTimeout")
    assert set(stage.cluster.history.creates.values()) == {1}


async def test_the_words_of_an_outage_go_with_it() -> None:
    stage = Stage()
    async with stage.running():
        job = await stage.submit({"start": "20s", "run": "forever"}, timeouts=Timeouts(start_seconds=60))
        await asyncio.sleep(10)
        stage.down()
        await asyncio.sleep(300)
        assert stage.now(job).explanation.startswith("The cluster cannot be asked now")
        stage.up()
        await asyncio.sleep(20)
    assert (stage.now(job).state, stage.now(job).explanation) == (State.RUNNING, "")


@pytest.mark.parametrize("unseen", [("job",), ("job", "pod")])
async def test_a_delete_that_finds_nothing_tells_that_it_is_gone(unseen: tuple[str, ...]) -> None:
    """Somebody deleted the Job, and no watch told it. A cancel does not wait for the next look or list."""
    stage = Stage()
    feeds: dict[str, Any] = {"job": stage.cluster.job_feed, "pod": stage.cluster.pod_feed}
    async with stage.running():
        job = await stage.submit({"run": "forever"})
        await asyncio.sleep(10)
        sim = stage.simulated(job)
        for kind in unseen:
            feeds[kind].hold()
        await stage.cluster.delete(
            "default", sim.job.cluster_name, cluster_uid=sim.facts.uid, wait_for_pods=False, pods=(), grace_seconds=None
        )
        await asyncio.sleep(20)
        for kind in unseen:
            feeds[kind]._held = []
            feeds[kind].release()
        await stage.store.request_cancel(job.id, by="ann", reason="")
        await asyncio.sleep(10)
    assert stage.now(job).state is State.CANCELLED
    assert stage.store.anomalies == []
