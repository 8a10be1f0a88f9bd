"""The lives of simulated jobs: every mode, in the states and words of a real cluster."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from msgspec.structs import replace

from kube_job_runner.adapters.simulated import Script
from kube_job_runner.domain import failures
from kube_job_runner.domain.decide import obstacles
from kube_job_runner.domain.facts import AttemptFacts
from tests.unit.adapters.simulated.conftest import Bench, scripted

Make = Callable[..., Any]


@pytest.mark.asyncio
async def test_nothing_happens_without_time(bench: Bench) -> None:
    _, facts = await bench.create()
    await bench.settle()
    assert [job.uid for job in bench.jobs.of(facts.uid)] == [facts.uid]
    assert bench.pods.pods_of(facts.uid) == []


@pytest.mark.asyncio
async def test_start_and_run_take_their_time(bench: Bench) -> None:
    _, facts = await bench.create(start="2s", run="5s")
    await bench.pass_seconds(1.9)
    assert bench.phases(facts.uid) == [("Pending", "")]
    await bench.pass_seconds(0.2)
    assert bench.pod(facts.uid).phase == "Running"
    await bench.pass_seconds(4.8)
    assert bench.pod(facts.uid).phase == "Running"
    await bench.pass_seconds(0.2)
    main = bench.main(facts.uid)
    assert (main.reason, main.exit_code) == ("Completed", 0)
    assert main.finished_at is not None
    assert main.started_at is not None
    assert main.finished_at - main.started_at == timedelta(seconds=5)


@pytest.mark.asyncio
async def test_a_long_advance_does_everything_at_its_moment(bench: Bench) -> None:
    _, facts = await bench.create(start="2s", run="5s")
    bench.cluster.advance(3600)
    await bench.settle()
    main = bench.main(facts.uid)
    assert main.started_at == facts.created_at + timedelta(seconds=2)  # type: ignore[operator]
    assert main.finished_at == facts.created_at + timedelta(seconds=7)  # type: ignore[operator]


@pytest.mark.parametrize(
    ("exit_code", "first", "last"), [("0", "SuccessCriteriaMet", "Complete"), ("3", "FailureTarget", "Failed")]
)
@pytest.mark.asyncio
async def test_a_job_is_finishing_before_it_is_finished(bench: Bench, exit_code: str, first: str, last: str) -> None:
    _, facts = await bench.create(exit_code=exit_code)
    await bench.pass_seconds(2)
    assert bench.conditions(facts.uid) == [(), (first,), (first, last)]


@pytest.mark.asyncio
async def test_conditions_come_after_the_pod_by_up_to_their_lag(make_bench: Make) -> None:
    bench: Bench = await make_bench(condition_lag_seconds=1.0, seed=7)
    lags = set()
    for _ in range(30):
        _, facts = await bench.create()
        await bench.pass_seconds(2)
        ended = next(pod for pod in bench.pods.pods_of(facts.uid) if pod.ended)
        met = next(job for job in bench.jobs.of(facts.uid) if job.conditions)
        assert met.resource_version > ended.resource_version
        lag = met.conditions[0].at - ended.containers[0].finished_at
        assert timedelta(0) <= lag <= timedelta(seconds=1)
        lags.add(lag)
    assert len(lags) > 10


@pytest.mark.parametrize(
    ("annotations", "phases", "condition"),
    [
        ({}, [("Pending", ""), ("Running", ""), ("Succeeded", "Completed")], "Complete"),
        ({"exit_code": "3"}, [("Pending", ""), ("Running", ""), ("Failed", "Error")], "Failed"),
        (
            {"exit_code": "137", "reason": "OOMKilled"},
            [("Pending", ""), ("Running", ""), ("Failed", "OOMKilled")],
            "Failed",
        ),
        ({"mode": "starterror"}, [("Pending", ""), ("Failed", "StartError")], "Failed"),
        ({"mode": "evicted"}, [("Pending", ""), ("Running", ""), ("Failed", "Error")], "Failed"),
        ({"mode": "imagepull"}, [("Pending", ""), ("Pending", "ErrImagePull"), ("Pending", "ImagePullBackOff")], ""),
        ({"mode": "stuck"}, [("Pending", ""), ("Pending", "ContainerCreating")], ""),
        ({"mode": "waiting", "waiting_reason": "Odd"}, [("Pending", ""), ("Pending", "Odd")], ""),
        ({"mode": "configerror"}, [("Pending", ""), ("Pending", "CreateContainerConfigError")], ""),
        ({"mode": "unschedulable"}, [("Pending", "")], ""),
        ({"mode": "nopod"}, [], ""),
    ],
)
@pytest.mark.asyncio
async def test_modes(bench: Bench, annotations: dict[str, str], phases: list[tuple[str, str]], condition: str) -> None:
    _, facts = await bench.create(run="1s", **annotations)
    await bench.pass_seconds(30)
    assert bench.phases(facts.uid) == phases
    last = bench.jobs.of(facts.uid)[-1]
    assert [c.type for c in last.conditions][1:] == ([condition] if condition else [])
    assert last.started_at is not None


@pytest.mark.parametrize(
    ("annotations", "reason"),
    [
        ({"mode": "imagepull"}, "ImageNotFound"),
        ({"mode": "imagepull", "image_error": "401 Unauthorized"}, "ImageUnauthorized"),
        ({"mode": "configerror"}, "ConfigMissing"),
    ],
)
@pytest.mark.asyncio
async def test_the_failure_table_knows_what_waits(bench: Bench, annotations: dict[str, str], reason: str) -> None:
    _, facts = await bench.create(**annotations)
    await bench.pass_seconds(5)
    found = obstacles.obstacle(AttemptFacts(job=facts, pods=(bench.pod(facts.uid),)), now=bench.clock.now())
    assert found is not None
    assert found.finding.reason == reason


@pytest.mark.asyncio
async def test_the_failure_table_knows_an_eviction(bench: Bench) -> None:
    _, facts = await bench.create(mode="evicted")
    await bench.pass_seconds(5)
    pod = bench.pod(facts.uid)
    finding = failures.classify("pod.status", pod.reason, pod.message)
    assert finding is not None
    assert finding.verdict == "retry_free"


@pytest.mark.asyncio
async def test_a_pod_without_room_has_no_node_and_goes_without_an_end(bench: Bench) -> None:
    job, facts = await bench.create(mode="unschedulable")
    await bench.pass_seconds(5)
    pod = bench.pod(facts.uid)
    assert (pod.node, pod.conditions[0].reason) == ("", "Unschedulable")
    await bench.cluster.delete(job.namespace, job.cluster_name, cluster_uid=facts.uid, wait_for_pods=True)
    await bench.pass_seconds(1)
    assert bench.jobs.of(facts.uid)[-1].gone
    assert bench.pod(facts.uid).gone
    assert bench.phases(facts.uid) == [("Pending", "")]


@pytest.mark.parametrize(
    ("annotations", "spec_grace_seconds", "seconds", "code"),
    [
        ({}, 30, 0, 143),
        ({"grace": "2s"}, 30, 2, 143),
        ({"grace": "2s", "term_code": "7"}, 30, 2, 7),
        ({"grace": "60s"}, 5, 5, 137),
    ],
)
@pytest.mark.asyncio
async def test_stopping_takes_its_grace(
    bench: Bench, annotations: dict[str, str], spec_grace_seconds: int, seconds: float, code: int
) -> None:
    job = scripted(run="forever", **annotations)
    job = replace(job, spec=replace(job.spec, stop_grace_seconds=spec_grace_seconds))
    facts = await bench.cluster.create(job)
    await bench.pass_seconds(1)
    assert bench.pod(facts.uid).phase == "Running"
    await bench.cluster.delete(job.namespace, job.cluster_name, cluster_uid=facts.uid, wait_for_pods=True)
    if seconds:
        await bench.pass_seconds(seconds - 0.1)
        assert bench.pod(facts.uid).phase == "Running"
        assert bench.pod(facts.uid).deleting
    await bench.pass_seconds(0.2)
    ended = next(pod for pod in bench.pods.pods_of(facts.uid) if pod.ended)
    assert ended.containers[0].exit_code == code
    assert bench.jobs.of(facts.uid)[-1].gone


@pytest.mark.asyncio
async def test_a_pod_deleted_before_it_ran_has_an_unknown_end(bench: Bench) -> None:
    job, facts = await bench.create(mode="stuck")
    await bench.pass_seconds(1)
    await bench.cluster.delete(job.namespace, job.cluster_name, cluster_uid=facts.uid, wait_for_pods=False)
    await bench.pass_seconds(1)
    main = bench.main(facts.uid)
    assert (main.reason, main.exit_code) == ("ContainerStatusUnknown", 137)


@pytest.mark.asyncio
async def test_a_pod_removed_alone_fails_its_job(bench: Bench) -> None:
    _, facts = await bench.create(run="forever")
    await bench.pass_seconds(1)
    bench.cluster.remove_pod(facts.uid)
    await bench.pass_seconds(3)
    assert bench.pod(facts.uid).gone
    assert bench.jobs.of(facts.uid)[-1].condition("Failed")
    assert not bench.jobs.of(facts.uid)[-1].gone


@pytest.mark.parametrize("wait_for_pods", [True, False])
@pytest.mark.asyncio
async def test_a_job_deleted_before_its_condition_never_gets_one(bench: Bench, wait_for_pods: bool) -> None:
    job, facts = await bench.create()
    bench.cluster.advance(0)
    await bench.settle()
    assert bench.pod(facts.uid).phase == "Succeeded"
    await bench.cluster.delete(job.namespace, job.cluster_name, cluster_uid=facts.uid, wait_for_pods=wait_for_pods)
    await bench.pass_seconds(3)
    assert bench.jobs.of(facts.uid)[-1].gone
    assert bench.conditions(facts.uid) == [()]


@pytest.mark.asyncio
async def test_a_pod_removed_after_its_end_changes_nothing_about_the_outcome(bench: Bench) -> None:
    _, facts = await bench.create()
    bench.cluster.advance(0)
    bench.cluster.remove_pod(facts.uid)
    await bench.pass_seconds(5, step_seconds=0.005)
    assert bench.conditions(facts.uid) == [(), ("SuccessCriteriaMet",), ("SuccessCriteriaMet", "Complete")]


@pytest.mark.asyncio
async def test_a_job_removed_by_somebody_else_is_gone(bench: Bench) -> None:
    _, facts = await bench.create(run="forever")
    await bench.pass_seconds(1)
    bench.cluster.remove_outside(facts.uid)
    await bench.pass_seconds(1)
    assert bench.jobs.of(facts.uid)[-1].gone
    assert bench.pod(facts.uid).gone
    assert bench.conditions(facts.uid) == [()]


@pytest.mark.asyncio
async def test_a_running_container_can_be_told_how_to_end(bench: Bench) -> None:
    uids = [(await bench.create(run="forever"))[1].uid for _ in range(2)]
    await bench.pass_seconds(1)
    bench.cluster.finish(uids[0], exit_code=9)
    bench.cluster.evict(uids[1])
    await bench.pass_seconds(2)
    assert bench.main(uids[0]).exit_code == 9
    assert bench.pod(uids[1]).reason == "Evicted"


@pytest.mark.asyncio
async def test_the_same_seed_gives_the_same_events(make_bench: Make) -> None:
    def script_for(_job: Any) -> Script:
        return Script(run_seconds=1)

    seen = []
    jobs = [scripted() for _ in range(20)]
    for _ in range(2):
        bench: Bench = await make_bench(seed=3, script_for=script_for)
        for job in jobs:
            await bench.cluster.create(job)
        await bench.pass_seconds(5)
        seen.append((bench.jobs.events, bench.pods.events))
    assert seen[0] == seen[1]
    other: Bench = await make_bench(seed=4, script_for=script_for)
    for job in jobs:
        await other.cluster.create(job)
    await other.pass_seconds(5)
    assert (other.jobs.events, other.pods.events) != seen[0]
