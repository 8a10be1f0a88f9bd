"""A cancel at every point of a job's life, in a simulation: fifty seeds for each point, hours of virtual time in seconds.

The real processors, watchers and sweeper work on a store in memory and a simulated cluster. Messages come out of order and
twice, and with every other seed calls to the cluster fail before or after they took effect. `tests/cluster/test_cancel_points.py`
does the same on a real API server; only here can the check run at the moment when `cancelled` is committed.
"""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import Any
from uuid import UUID

import msgspec
import pytest

from kube_job_runner.adapters.simulated import Fault, SimulatedCluster
from kube_job_runner.adapters.simulated.simulated_time import EPOCH
from kube_job_runner.domain.decide.ruleset import Rules
from kube_job_runner.domain.errors import TemporaryError
from kube_job_runner.domain.facts import ContainerFacts, PodFacts
from kube_job_runner.domain.job import Job, new_job
from kube_job_runner.domain.limits import AdmissionLimits
from kube_job_runner.domain.spec.model import JobSpec, Retry, Timeouts
from kube_job_runner.domain.states import TERMINAL, State
from kube_job_runner.ports import Change, Submission
from kube_job_runner.services.pipeline.processor import Processor
from kube_job_runner.services.sweep import Sweeper
from kube_job_runner.settings.groups import BatchSettings, RetentionSettings
from tests.support import simulation
from tests.support.clocks import LoopClock
from tests.support.history import History, violations
from tests.support.memory import MemoryStore

# No file, socket or thread takes part, so time may move on as soon as no callback is ready; by default looptime polls 42 times.
pytestmark = [pytest.mark.asyncio, pytest.mark.looptime(noop_cycles=0)]

SEEDS = 50
RULES = Rules(
    cleanup_delay_seconds=3.0,
    force_after_seconds=20.0,
    log_deadline_seconds=3.0,
    log_stop_bound_seconds=0.0,
    log_recheck_seconds=0.5,
)
CANCELLED = frozenset({State.CANCELLED})
FOR_EVER = {"run": "forever"}


class VirtualClock(LoopClock):
    """A time of day that follows the event loop, whose time is virtual."""

    def now(self) -> dt.datetime:
        return EPOCH + dt.timedelta(seconds=self.monotonic())


class Witness(MemoryStore):
    """The store; when a job is committed as cancelled, it checks that no live object of the job is in the cluster.

    What a finished attempt left may stay: its log is kept for a while.
    """

    cluster: SimulatedCluster
    lies: list[str]

    async def commit(self, changes: Any, *, receipts: Any) -> set[UUID]:
        """Commit, then check."""
        applied = await super().commit(changes, receipts=receipts)
        for change in changes:
            if change.job.id in applied and change.job.state is State.CANCELLED:
                self._look(change)
        return applied

    def _look(self, change: Change) -> None:
        for sim in self.cluster._world.by_uid.values():
            ended = sim.pod is not None and sim.pod.ended and sim.facts.conditions
            if sim.job.job_id == change.job.id and not ended:
                self.lies.append(f"cancelled, and there is {sim.facts} with {sim.pod}")


class Life:
    """One job in one world, from submit until nothing is left of it."""

    def __init__(self, point: Point, seed: int) -> None:
        self.point = point
        self.random = random.Random(f"{point.name} {seed}")
        self.clock = VirtualClock()
        self.cluster = SimulatedCluster(
            clock=self.clock,
            seed=seed,
            quota=point.quota,
            step_seconds=self.random.choice([0.0, 0.02]),
            condition_lag_seconds=1.0,
        )
        self.store = Witness(self.clock, seed=seed)
        self.store.cluster, self.store.lies = self.cluster, []
        self.calm = not seed % 2
        self.cluster.faults.choose = self.trouble
        self.processing = asyncio.Event()
        if not point.processor_stands:
            self.processing.set()
        spec = JobSpec(
            image="registry.example.com/tool:1",
            command=("run",),
            queue=point.queue,
            annotations={f"kjr.test/{key}": value for key, value in point.script.items()},
            **point.spec,
        )
        self.submitted, self.encoded = new_job(spec, owner="ann", default_namespace="default", now=self.clock.now())
        self.accepted = False
        self.asked_at = 0.0

    @property
    def job(self) -> Job:
        return self.store.jobs[self.submitted.id]

    @property
    def shown(self) -> Mapping[str, Any]:
        """The cluster job and pod as they are now: none, while there are none."""
        found = [sim for sim in self.cluster._world.by_uid.values() if sim.job.job_id == self.submitted.id]
        return {"uid": found[-1].facts.uid, "job": found[-1].facts, "pod": found[-1].pod} if found else {}

    @property
    def pod(self) -> PodFacts | None:
        return self.shown.get("pod")

    @property
    def waiting(self) -> str:
        containers: tuple[ContainerFacts, ...] = self.pod.containers if self.pod else ()
        return next((container.reason for container in containers if container.state == "waiting"), "")

    def trouble(self, operation: str) -> Fault | None:
        delay_seconds = self.random.uniform(0.0, 0.05)
        if self.calm or self.random.random() > 0.2:
            return Fault(delay_seconds=delay_seconds)
        error = TemporaryError(f"{operation}: connection reset", delay_seconds=0.5)
        return Fault(error=error, after=self.random.random() < 0.5, delay_seconds=delay_seconds)

    async def cancel(self, grace_seconds: int | None = None) -> None:
        job = await self.store.request_cancel(self.submitted.id, by="ann", reason="why", grace_seconds=grace_seconds)
        assert job is not None
        if not self.asked_at:
            self.accepted, self.asked_at = job.state not in TERMINAL, self.clock.monotonic()

    async def until(
        self, check: Callable[[], object], *, step_seconds: float = 0.01, limit_seconds: float = 300
    ) -> None:
        end = self.clock.monotonic() + limit_seconds
        while not check():
            assert self.clock.monotonic() < end, f"{self.point.name}: not in time, {self.job} {self.shown}"
            await asyncio.sleep(step_seconds)

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        self.cluster.start()
        store, clock = self.store, self.clock
        sweeper = Sweeper(store=store, logs=store, clock=clock, settings=RetentionSettings())
        watchers = simulation.observers(self.cluster, store=store, queue=store, clock=clock)
        work = [*(watcher.run() for watcher in watchers), self.process(), self.process(), self.sweep(sweeper)]
        async with simulation.running(self.cluster, work):
            yield

    async def process(self) -> None:
        await self.processing.wait()
        processor = Processor(
            store=self.store,
            queue=self.store,
            cluster=self.cluster,
            clock=self.clock,
            rules=RULES,
            limits=AdmissionLimits(queues={"held": 0}),
            watches=self.store,
            settings=BatchSettings(batch_size=5, lease_seconds=5.0, max_deliveries=500),
        )
        while True:
            await processor.run_once()

    async def sweep(self, sweeper: Sweeper) -> None:
        while True:
            await sweeper.run_once()
            await asyncio.sleep(0.5)

    async def live(self) -> None:
        async with self.running():
            await self.store.insert_jobs([Submission(job=self.submitted, spec=self.encoded)])
            await self.until(lambda: self.point.moment(self))
            await asyncio.sleep(self.random.uniform(*self.point.after))
            await asyncio.gather(self.cancel(), *(act(self) for act in self.point.also))
            self.processing.set()
            await self.until(lambda: self.job.terminal, step_seconds=0.25)
            await self.until(lambda: self.cluster.history.alive_now == 0, step_seconds=0.5)
            await asyncio.sleep(4)


Act = Callable[[Life], Awaitable[None]]


async def kill_when_it_hangs(life: Life) -> None:
    """Cancel again, and give it no time, while its pod does not end."""
    await life.until(lambda: life.pod is not None and life.pod.deleting)
    await asyncio.sleep(life.random.uniform(0.0, 5.0))
    assert life.job.state is State.STOPPING
    await life.cancel(grace_seconds=0)


async def delete_behind_our_back(life: Life) -> None:
    await asyncio.sleep(life.random.uniform(0.0, 0.1))
    if life.shown:
        life.cluster.remove_outside(life.shown["uid"])


async def lose_the_node(life: Life) -> None:
    life.cluster.lose_node(life.shown["uid"])


def running(life: Life) -> bool:
    return life.pod is not None and life.pod.phase == "Running"


def waits_for(reason: str) -> Callable[[Life], bool]:
    return lambda life: life.waiting == reason


class Point(msgspec.Struct, frozen=True, kw_only=True):
    """A point of the life of a job, as in the test on a real API server."""

    name: str
    moment: Callable[[Life], object]
    script: dict[str, str] = msgspec.field(default_factory=lambda: FOR_EVER)
    spec: dict[str, Any] = {}
    queue: str = "default"
    quota: int | None = None
    processor_stands: bool = False
    after: tuple[float, float] = (0.0, 0.0)
    also: tuple[Act, ...] = ()
    ends: frozenset[State] = CANCELLED
    creates: tuple[int, ...] = (1,)
    anomalies: frozenset[str] = frozenset()


POINTS = [
    Point(name="right-after-submit", moment=lambda life: True, creates=(0, 1)),
    Point(name="processor-stopped", moment=lambda life: True, processor_stands=True, after=(1.0, 9.0), creates=(0,)),
    Point(name="behind-a-full-queue", moment=lambda life: True, queue="held", after=(1.0, 9.0), creates=(0,)),
    Point(
        name="waiting-for-retry",
        script={"exit-code": "1"},
        spec={"retry": Retry(attempts=3, backoff_seconds=60)},
        moment=lambda life: life.job.state is State.QUEUED and life.job.attempt == 1,
        after=(0.0, 10.0),
    ),
    Point(
        name="create-postponed-by-quota",
        quota=0,
        moment=lambda life: "quota" in life.job.explanation,
        after=(0.0, 3.0),
        creates=(0,),
    ),
    Point(name="create-in-flight", moment=lambda life: True, after=(0.0, 0.2), creates=(0, 1)),
    Point(name="job-without-pod", script={"mode": "nopod"}, moment=lambda life: life.shown, after=(0.0, 2.0)),
    Point(
        name="unschedulable",
        script={"mode": "unschedulable"},
        moment=lambda life: life.pod is not None and life.pod.conditions,
        after=(0.0, 1.0),
    ),
    Point(name="container-creating", script={"mode": "stuck"}, moment=waits_for("ContainerCreating")),
    Point(name="image-pull-failing", script={"mode": "imagepull"}, moment=waits_for("ErrImagePull"), after=(0.0, 2.0)),
    Point(
        name="image-pull-back-off", script={"mode": "imagepull"}, moment=waits_for("ImagePullBackOff"), after=(0.0, 9.0)
    ),
    Point(
        name="config-error",
        script={"mode": "configerror"},
        moment=waits_for("CreateContainerConfigError"),
        after=(0.0, 9.0),
    ),
    Point(
        name="about-to-start",
        script=FOR_EVER | {"start": "1s"},
        moment=lambda life: life.pod is not None and life.pod.node,
        after=(0.7, 1.3),
    ),
    Point(name="reported-running", moment=lambda life: life.job.state is State.RUNNING),
    Point(name="running-for-a-while", moment=running, after=(2.0, 100.0)),
    Point(
        name="ignoring-sigterm",
        script=FOR_EVER | {"grace": "1h"},
        spec={"stop_grace_seconds": 3600},
        moment=running,
        also=(kill_when_it_hangs,),
    ),
    Point(
        name="as-its-container-ends",
        script={"run": "1s"},
        moment=running,
        after=(0.7, 1.3),
        ends=frozenset({State.CANCELLED, State.SUCCEEDED}),
    ),
    Point(
        name="ended-not-yet-complete",
        script={"run": "1s"},
        moment=lambda life: life.pod is not None and life.pod.phase == "Succeeded",
        after=(0.25, 0.75),  # its end has been observed; its Job may need up to a second more
        ends=frozenset({State.SUCCEEDED}),
    ),
    Point(
        name="just-ended",
        script={"run": "1s"},
        moment=lambda life: life.job.terminal,
        ends=frozenset({State.SUCCEEDED}),
    ),
    Point(
        name="stopping-for-run-timeout",
        script=FOR_EVER | {"grace": "3s"},
        spec={"timeouts": Timeouts(run_seconds=2)},
        moment=lambda life: life.job.state is State.STOPPING,
        after=(0.0, 2.0),
        ends=frozenset({State.FAILED}),
    ),
    Point(
        name="deleted-by-somebody-else",
        script=FOR_EVER | {"grace": "2s"},
        moment=lambda life: running(life) and life.job.attempt == 1,
        also=(delete_behind_our_back,),
    ),
    Point(
        name="node-lost",
        moment=running,
        also=(lose_the_node,),
        anomalies=frozenset({"RemovedByForce"}),
    ),
]


@pytest.mark.parametrize("point", POINTS, ids=lambda point: point.name)
async def test_one_winner_the_right_record_and_nothing_left(point: Point) -> None:
    for seed in range(SEEDS):
        life = Life(point, seed)
        await life.live()
        judge(life, seed)


def judge(life: Life, seed: int) -> None:
    point, job, store = life.point, life.job, life.store
    told = f"seed {seed}: {job}"
    assert store.lies == [], told
    assert job.state in point.ends, told
    if job.state is State.CANCELLED:
        assert (job.reason, job.explanation) == ("Cancelled", "Cancelled by ann: why"), told
    elif life.accepted:
        assert "A cancel was requested by ann" in job.explanation, told
        assert "ended first" in job.explanation, told
    assert sum(life.cluster.history.creates.values()) in point.creates, told
    assert job.attempt <= 1, told
    assert {anomaly.kind for anomaly in store.anomalies} == point.anomalies, told
    assert store.dead_letters == [], told
    assert life.cluster.history.violations() == [], told
    rows = [
        {"version": row.version, "from_state": row.from_state and row.from_state.value, "to_state": row.to_state.value}
        for row in store.transitions[job.id]
    ]
    seen = {"state": job.state.value, "reason": job.reason, "explanation": job.explanation}
    history = History(acknowledged={str(job.id): None}, jobs={str(job.id): seen}, transitions={str(job.id): rows})
    assert violations(history) == [], told
