"""The observer: everything seen is sent, nothing is sent twice for nothing, and what vanished unseen is noticed."""

from __future__ import annotations

import asyncio
import itertools
import uuid
from collections.abc import AsyncIterator, Sequence
from typing import Any

import msgspec
import pytest

from kube_job_runner import ports
from kube_job_runner.adapters.simulated import SteppedClock
from kube_job_runner.domain.errors import DatabaseUnavailable, LeaseLost, TemporaryError, WrongCluster
from kube_job_runner.domain.facts import AttemptFacts, Condition, EventFacts, JobFacts, NodeFacts, PodFacts, merge
from kube_job_runner.domain.freshness import WatchReport
from kube_job_runner.domain.messages import Observed, Outgoing
from kube_job_runner.services.observe import (
    LOADED_MESSAGES,
    LOADED_PACE_SECONDS,
    PACE_SECONDS,
    NodeEvidence,
    Observer,
    disturbed,
)
from tests.support.clocks import LoopClock
from tests.support.domain import JOB_ID, after, ended, pod_facts, running

pytestmark = [pytest.mark.asyncio, pytest.mark.looptime]
JOB = uuid.uuid4()


class World:
    """A watch to be fed by hand, a store and a queue that remember, and may be away."""

    def __init__(self, known: Sequence[ports.KnownClusterJob] = ()) -> None:
        self.feed: asyncio.Queue[ports.WatchEvent] = asyncio.Queue()
        self.known = list(known)
        self.away = 0
        self.batches: list[list[Observed]] = []
        self.sent_at: list[float] = []
        self.asked = 0
        self.reports: list[tuple[str, WatchReport]] = []
        self.bound: list[ports.ClusterIdentity] = []
        self.exists: set[str] = set()
        self.looks: list[str] = []

    async def events(self) -> AsyncIterator[ports.WatchEvent]:
        while True:
            yield await self.feed.get()

    async def bind_cluster(self, identity: ports.ClusterIdentity) -> list[ports.ClusterIdentity]:
        self.bound = self.bound or [identity]
        return self.bound

    async def known_cluster_jobs(self) -> list[ports.KnownClusterJob]:
        self.asked += 1
        return self.known

    async def record_watches(self, kind: str, reports: Sequence[WatchReport]) -> None:
        if self.away:
            self.away -= 1
            raise DatabaseUnavailable("away")
        self.reports += [(kind, report) for report in reports]

    async def send(self, messages: Sequence[Outgoing]) -> None:
        if self.away:
            self.away -= 1
            raise DatabaseUnavailable("away")
        self.batches.append([m.message for m in messages if isinstance(m.message, Observed)])
        self.sent_at.append(asyncio.get_running_loop().time())

    async def find(self, namespace: str, cluster_name: str, *, cluster_uid: str | None = None) -> JobFacts | None:
        self.looks.append(cluster_name)
        return JobFacts(uid=cluster_name) if cluster_name in self.exists else None

    def observer(self) -> Observer:
        world: Any = self
        return Observer(kind="job", events=self.events(), store=self, queue=self, clock=LoopClock(), finder=world)

    @property
    def sent(self) -> list[Observed]:
        return [message for batch in self.batches for message in batch]

    @property
    def jobs(self) -> list[JobFacts]:
        return [message.seen for message in self.sent if isinstance(message.seen, JobFacts)]


def seen(uid: str, version: int, *, gone: bool = False) -> ports.SeenJob:
    return ports.SeenJob(job_id=JOB, attempt=1, facts=JobFacts(uid=uid, resource_version=version, gone=gone))


async def play(world: World, *events: ports.WatchEvent, seconds: float = 5.0) -> None:
    task = asyncio.create_task(world.observer().run())
    for event in events:
        world.feed.put_nowait(event)
    await asyncio.sleep(seconds)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_what_the_store_knows_and_a_list_does_not_hold_is_gone() -> None:
    known = [ports.KnownClusterJob(job_id=JOB, attempt=1, namespace="a", cluster_uid=uid) for uid in ("a", "b")]
    world = World(known)
    await play(world, ports.Relisting(), seen("a", 5), ports.Listed())
    assert world.asked == 1
    assert [(job.uid, job.gone) for job in world.jobs] == [("a", False), ("b", True)]


async def test_what_is_in_a_namespace_that_was_not_listed_is_not_called_gone() -> None:
    known = [
        ports.KnownClusterJob(job_id=JOB, attempt=1, namespace=namespace, cluster_uid=f"in {namespace}")
        for namespace in ("a", "b", "no longer ours")
    ]
    world = World(known)
    await play(world, ports.Relisting(), ports.Listed("a"))
    assert [job.uid for job in world.jobs] == ["in a"]
    world = World(known)
    await play(world, ports.Relisting(), ports.Listed("a"), seen("in b", 1), ports.Listed("b"))
    assert [(job.uid, job.gone) for job in world.jobs] == [("in a", True), ("in b", False)]


async def test_nothing_is_gone_before_the_list_is_complete() -> None:
    world = World([ports.KnownClusterJob(job_id=JOB, attempt=1, namespace="a", cluster_uid="a")])
    await play(world, ports.Relisting(), ports.Relisting())
    assert world.sent == []


async def test_a_rush_is_sent_in_one_batch_with_the_newest_facts_of_each_object() -> None:
    world = World()
    events = [seen(uid, version) for version in range(1, 4) for uid in ("a", "b", "c")]
    await play(world, *events)
    assert len(world.batches) == 1
    assert {(job.uid, job.resource_version) for job in world.jobs} == {("a", 3), ("b", 3), ("c", 3)}


@pytest.mark.parametrize(
    ("per_pace", "pace_seconds"), [(LOADED_MESSAGES - 2, PACE_SECONDS), (2 * LOADED_MESSAGES, LOADED_PACE_SECONDS)]
)
async def test_more_is_gathered_the_more_there_is_and_the_first_never_waits(per_pace: int, pace_seconds: float) -> None:
    world = World()
    task = asyncio.create_task(world.observer().run())
    began = asyncio.get_running_loop().time()
    for number in range(per_pace * 40):
        world.feed.put_nowait(seen(f"uid-{number}", 1))
        await asyncio.sleep(PACE_SECONDS / per_pace)
    await asyncio.sleep(1.0)
    task.cancel()
    await asyncio.wait({task})
    assert len(world.sent) == per_pace * 40
    assert world.sent_at[0] - began < 0.02
    gaps = [after - before for before, after in itertools.pairwise(world.sent_at[2:-1])]
    assert min(gaps) >= pace_seconds - 1e-6
    assert max(gaps) <= pace_seconds + 2 * PACE_SECONDS / per_pace


async def test_a_queue_that_is_away_loses_nothing() -> None:
    world = World()
    world.away = 6
    await play(world, seen("a", 1), seated := seen("b", 2), seconds=60)
    assert [m.seen for m in world.sent] == [seen("a", 1).facts, seated.facts]


async def test_a_refused_send_ends_the_observer() -> None:
    class Fenced(World):
        refused = 0

        async def send(self, messages: Sequence[Outgoing]) -> None:
            self.refused += 1
            raise LeaseLost

    world = Fenced()
    world.feed.put_nowait(seen("a", 1))
    with pytest.raises(LeaseLost):
        await world.observer().run()
    assert world.refused == 1


async def test_what_is_left_when_it_is_ended_is_tried_once_and_may_be_refused() -> None:
    class Fenced(World):
        refused = 0

        async def send(self, messages: Sequence[Outgoing]) -> None:
            self.refused += 1
            raise LeaseLost

    world = Fenced()
    await play(world, seen("a", 1), seconds=0.001)
    assert (world.refused, world.sent) == (1, [])


async def test_what_was_read_is_sent_before_it_stops() -> None:
    world = World()
    await play(world, seen("a", 1), seconds=0.001)
    assert len(world.sent) == 1


async def test_a_watch_that_breaks_ends_the_observer() -> None:
    class Broken(World):
        async def events(self) -> AsyncIterator[ports.WatchEvent]:
            yield seen("a", 1)
            raise RuntimeError("a bug")

    world = Broken()
    with pytest.raises(RuntimeError, match="a bug"):
        await world.observer().run()
    assert len(world.sent) == 1


async def test_an_event_is_forwarded_as_text_of_its_attempt() -> None:
    world = World()
    text = EventFacts(uid="e", object_kind="Pod", object_uid="p", message="no such image")
    await play(world, ports.Relisting(), ports.Listed(), ports.SeenEvent(job_id=JOB, attempt=2, facts=text))
    assert world.sent == [Observed(job_id=JOB, attempt=2, seen=text)]


PRESSURE = Condition(type="MemoryPressure", reason="KubeletHasInsufficientMemory")
EVICTED: dict[str, Any] = {"phase": "Failed", "reason": "Evicted"}


class Nodes:
    def __init__(self) -> None:
        self.asked: list[str] = []
        self.failure: Exception | None = None
        self.conditions: tuple[Condition, ...] | None = (PRESSURE,)

    async def node_conditions(self, name: str) -> tuple[Condition, ...] | None:
        self.asked.append(name)
        await asyncio.sleep(0)
        if self.failure is not None:
            raise self.failure
        return self.conditions


class Scene:
    def __init__(self) -> None:
        self.nodes, self.clock = Nodes(), SteppedClock()
        self.evidence = NodeEvidence(self.nodes, self.clock)
        self.reported: list[Observed] = []

    async def report(self, item: tuple[str, Observed]) -> None:
        self.reported.append(item[1])

    async def see(self, **fields: Any) -> None:
        pod = pod_facts(ended(137), **({"uid": "pod-1"} | fields))
        self.evidence.look(ports.SeenPod(job_id=JOB_ID, attempt=1, facts=pod), self.report)
        for _ in range(6):
            await asyncio.sleep(0)


@pytest.fixture
def scene() -> Scene:
    return Scene()


async def test_a_pod_that_was_evicted_is_reported_with_its_node_once(scene: Scene) -> None:
    await scene.see(**EVICTED)
    await scene.see(**EVICTED, rv=12)
    [seen] = scene.reported
    assert isinstance(seen.seen, NodeFacts)
    assert (seen.job_id, seen.attempt, seen.seen.name, seen.seen.conditions) == (JOB_ID, 1, "node-1", (PRESSURE,))


async def test_many_pods_of_one_node_cost_one_request_until_it_is_old(scene: Scene) -> None:
    for number in range(5):
        await scene.see(**EVICTED, uid=f"pod-{number}")
    assert (len(scene.reported), scene.nodes.asked) == (5, ["node-1"])
    scene.clock.move_to(11)
    await scene.see(**EVICTED, uid="pod-9")
    assert scene.nodes.asked == ["node-1", "node-1"]


@pytest.mark.parametrize("failure", [None, TemporaryError("away")])
async def test_a_node_that_cannot_be_read_is_no_evidence_and_no_error(scene: Scene, failure: Exception | None) -> None:
    scene.nodes.conditions, scene.nodes.failure = None, failure
    await scene.see(**EVICTED)
    assert (scene.reported, scene.nodes.asked) == ([], ["node-1"])


async def test_a_pod_that_ended_by_itself_asks_nothing(scene: Scene) -> None:
    await scene.see(phase="Failed")
    assert scene.nodes.asked == []


async def test_what_disturbs_a_pod() -> None:
    moved = Condition(type="DisruptionTarget", reason="PreemptionByScheduler")
    assert disturbed(pod_facts(running(), phase="Running", conditions=(moved,)))
    assert disturbed(pod_facts(ended(137, "ContainerStatusUnknown"), phase="Failed"))
    assert not disturbed(pod_facts(running(), phase="Running"))


async def test_of_one_node_the_first_look_is_kept_in_any_order() -> None:
    looks = [NodeFacts(name="n", seen_at=after(seconds)) for seconds in (3, 1, 2)]
    facts = AttemptFacts()
    for look in looks:
        facts = merge(facts, look, cluster_uid=None)
    assert facts.nodes == (looks[1],)


async def test_the_newest_facts_of_a_batch_keep_what_the_ones_before_said() -> None:
    """The bare `gone` of a list, or the deletion of a pod, replaces older facts in a batch: their end must not be lost."""
    complete = JobFacts(uid="a", resource_version=5, conditions=(Condition(type="Complete", at=after(9)),))
    pod = pod_facts(ended(0), phase="Running", rv=6)
    removed = pod_facts(ended(0), phase="Succeeded", rv=8, deleting=True, deletion_due_at=after(9), gone=True)
    world = World()
    reports: list[ports.WatchEvent] = [
        ports.SeenJob(job_id=JOB, attempt=1, facts=complete),
        ports.SeenJob(job_id=JOB, attempt=1, facts=JobFacts(uid="a", gone=True)),
        *(ports.SeenPod(job_id=JOB, attempt=1, facts=facts) for facts in (pod, removed)),
    ]
    await play(world, *reports)
    [job], [seen_pod] = world.jobs, [m.seen for m in world.sent if isinstance(m.seen, PodFacts)]
    assert job.condition("Complete")
    assert (job.gone, job.showed_end_first) == (True, True)
    assert (seen_pod.gone, seen_pod.showed_end_first) == (True, True)


async def test_the_list_of_another_cluster_is_not_believed() -> None:
    """Another context of the kubeconfig: every job would look deleted, and would start again there."""
    world = World()
    here = ports.ClusterIdentity(kind="kubernetes", evidence="namespace kube-system", uid="here")
    world.bound = [here]
    world.known = [ports.KnownClusterJob(job_id=JOB, attempt=1, namespace="default", cluster_uid="a")]
    other = msgspec.structs.replace(here, uid="other")
    with pytest.raises(WrongCluster, match="kjr rebind"):
        await play(world, ports.Relisting(), ports.Listed(cluster=other))
    assert world.sent == []
    await play(world, ports.Relisting(), ports.Listed(cluster=here))
    assert [facts.gone for facts in world.jobs] == [True]


def known_jobs(count: int) -> list[ports.KnownClusterJob]:
    return [
        ports.KnownClusterJob(job_id=JOB, attempt=1, namespace="default", cluster_uid=uid, cluster_name=uid)
        for uid in (f"u{number}" for number in range(count))
    ]


async def test_a_list_that_lacks_many_is_believed_after_a_look_at_some() -> None:
    world = World(known_jobs(40))
    await play(world, ports.Relisting(), ports.Listed())
    assert len(world.jobs) == 40
    assert len(world.looks) == 5


async def test_a_list_that_lacks_what_exists_is_not_believed() -> None:
    """Changed labels, a restored server: the list is wrong, and each job would be called deleted and run again."""
    world = World(known_jobs(40))
    world.exists = {f"u{number}" for number in range(40)}
    with pytest.raises(TemporaryError, match="lacks 40 of 40"):
        await play(world, ports.Relisting(), ports.Listed())
    assert world.sent == []


async def test_a_list_that_lacks_a_few_costs_no_look() -> None:
    world = World(known_jobs(40))
    await play(world, ports.Relisting(), *(seen(f"u{number}", 5) for number in range(36)), ports.Listed())
    assert world.looks == []
    assert sum(job.gone for job in world.jobs) == 4


async def test_what_vanished_between_two_lists_counts_among_the_missing() -> None:
    """The watch tells each of them as gone before the list is complete."""
    world = World(known_jobs(40))
    world.exists = {f"u{number}" for number in range(40)}
    vanished = [seen(f"u{number}", 5, gone=True) for number in range(40)]
    with pytest.raises(TemporaryError, match="lacks 40 of 40"):
        await play(world, ports.Relisting(), *vanished, ports.Listed())
    assert world.sent == []
