"""The state of nodes as evidence: once for each disturbed pod, one request for many, and never in the way."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from kube_job_runner import ports
from kube_job_runner.adapters.simulated import SteppedClock
from kube_job_runner.domain.errors import TemporaryError
from kube_job_runner.domain.facts import AttemptFacts, Condition, NodeFacts, merge
from kube_job_runner.domain.messages import Observed
from kube_job_runner.services.node_evidence import NodeEvidence, disturbed
from tests.support.domain import JOB_ID, after, ended, pod_facts, running

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


@pytest.mark.asyncio
async def test_a_pod_that_was_evicted_is_reported_with_its_node_once(scene: Scene) -> None:
    await scene.see(**EVICTED)
    await scene.see(**EVICTED, rv=12)
    [seen] = scene.reported
    assert isinstance(seen.seen, NodeFacts)
    assert (seen.job_id, seen.attempt, seen.seen.name, seen.seen.conditions) == (JOB_ID, 1, "node-1", (PRESSURE,))


@pytest.mark.asyncio
async def test_many_pods_of_one_node_cost_one_request_until_it_is_old(scene: Scene) -> None:
    for number in range(5):
        await scene.see(**EVICTED, uid=f"pod-{number}")
    assert (len(scene.reported), scene.nodes.asked) == (5, ["node-1"])
    scene.clock.move_to(11)
    await scene.see(**EVICTED, uid="pod-9")
    assert scene.nodes.asked == ["node-1", "node-1"]


@pytest.mark.asyncio
@pytest.mark.parametrize("failure", [None, TemporaryError("away")])
async def test_a_node_that_cannot_be_read_is_no_evidence_and_no_error(scene: Scene, failure: Exception | None) -> None:
    scene.nodes.conditions, scene.nodes.failure = None, failure
    await scene.see(**EVICTED)
    assert (scene.reported, scene.nodes.asked) == ([], ["node-1"])


@pytest.mark.asyncio
async def test_a_pod_that_ended_by_itself_asks_nothing(scene: Scene) -> None:
    await scene.see(phase="Failed")
    assert scene.nodes.asked == []


def test_what_disturbs_a_pod() -> None:
    moved = Condition(type="DisruptionTarget", reason="PreemptionByScheduler")
    assert disturbed(pod_facts(running(), phase="Running", conditions=(moved,)))
    assert disturbed(pod_facts(ended(137, "ContainerStatusUnknown"), phase="Failed"))
    assert not disturbed(pod_facts(running(), phase="Running"))


def test_of_one_node_the_first_look_is_kept_in_any_order() -> None:
    looks = [NodeFacts(name="n", seen_at=after(seconds)) for seconds in (3, 1, 2)]
    facts = AttemptFacts()
    for look in looks:
        facts = merge(facts, look, cluster_uid=None)
    assert facts.nodes == (looks[1],)
