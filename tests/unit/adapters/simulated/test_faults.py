"""What can be made to go wrong with the simulated cluster, and what its witness says of it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from msgspec.structs import replace

from kube_job_runner.adapters.simulated import Fault, SimulatedCluster, SteppedClock
from kube_job_runner.adapters.simulated.script import Script, read, seconds
from kube_job_runner.domain.errors import ClusterRefused, NotFound, TemporaryError
from kube_job_runner.domain.names import MAIN_CONTAINER
from kube_job_runner.domain.spec.model import JobSpec
from kube_job_runner.ports import Listed, Relisting, SeenJob
from tests.support.clocks import SystemClock
from tests.support.clusters import poll
from tests.unit.adapters.simulated.conftest import Bench, scripted

Make = Callable[..., Any]


# -- calls -----------------------------------------------------------------------------------------------------------


@pytest.mark.asyncio
async def test_a_call_that_fails_before_it_takes_effect(bench: Bench) -> None:
    job = scripted()
    bench.cluster.fail_next("create", TemporaryError("503"), times=2)
    for _ in range(2):
        with pytest.raises(TemporaryError, match="503"):
            await bench.cluster.create(job)
        assert await bench.cluster.find(job.namespace, job.cluster_name) is None
    assert (await bench.cluster.create(job)).uid
    assert bench.cluster.history.creates[job.namespace, job.cluster_name] == 1


@pytest.mark.asyncio
async def test_a_create_that_works_and_says_it_failed_is_adopted(bench: Bench) -> None:
    job = scripted()
    bench.cluster.fail_next("create", TemporaryError("connection reset"), after=True)
    with pytest.raises(TemporaryError, match="connection reset"):
        await bench.cluster.create(job)
    made = await bench.cluster.find(job.namespace, job.cluster_name)
    assert made is not None
    assert (await bench.cluster.create(job)).uid == made.uid
    assert bench.cluster.history.violations() == []


@pytest.mark.asyncio
async def test_a_delete_that_works_and_says_it_failed(bench: Bench) -> None:
    job, facts = await bench.create(run="forever")
    await bench.pass_seconds(1)
    bench.cluster.fail_next("delete", TemporaryError("timeout"), after=True)
    for expected in (True, False):
        try:
            await bench.cluster.delete(job.namespace, job.cluster_name, cluster_uid=facts.uid, wait_for_pods=False)
            assert not expected
        except TemporaryError:
            assert expected
    await bench.pass_seconds(1)
    assert bench.cluster.history.deletes[facts.uid] == 1
    assert bench.cluster.history.alive_now == 0


@pytest.mark.asyncio
async def test_a_slow_call_takes_effect_at_its_end(bench: Bench) -> None:
    job = scripted()
    bench.cluster.fail_next("create", delay_seconds=5)
    creating = asyncio.create_task(bench.cluster.create(job))
    await bench.pass_seconds(4.9)
    assert not creating.done()
    assert await bench.cluster.find(job.namespace, job.cluster_name) is None
    await bench.pass_seconds(0.2)
    assert (await creating).uid


@pytest.mark.asyncio
async def test_chaos_is_asked_at_every_call(bench: Bench) -> None:
    asked: list[str] = []

    def choose(operation: str) -> Fault | None:
        asked.append(operation)
        return Fault(error=TemporaryError("chaos")) if len(asked) == 2 else None

    bench.cluster.faults.choose = choose
    job, _ = await bench.create()
    with pytest.raises(TemporaryError, match="chaos"):
        await bench.cluster.find(job.namespace, job.cluster_name)
    assert asked == ["create", "find"]


@pytest.mark.asyncio
async def test_a_quota_refuses_for_now(make_bench: Make) -> None:
    bench: Bench = await make_bench(quota=1)
    job, facts = await bench.create()
    assert (await bench.cluster.create(job)).uid == facts.uid, "an adoption needs no room"
    with pytest.raises(TemporaryError) as refused:
        await bench.create()
    assert refused.value.reason == "QuotaExceeded"
    await bench.cluster.delete(job.namespace, job.cluster_name, cluster_uid=facts.uid, wait_for_pods=False)
    await bench.pass_seconds(1)
    await bench.create()


@pytest.mark.parametrize("annotations", [{"mode": "sideways"}, {"run": "5"}, {"exit_code": "three"}, {"grace": ""}])
@pytest.mark.asyncio
async def test_a_script_that_cannot_be_read_is_refused_for_good(bench: Bench, annotations: dict[str, str]) -> None:
    with pytest.raises(ClusterRefused) as refused:
        await bench.create(**annotations)
    assert refused.value.reason == "RequestInvalid"


@pytest.mark.asyncio
async def test_logs_can_fail_too(bench: Bench) -> None:
    job, facts = await bench.create(log="hello\n")
    await bench.pass_seconds(1)

    async def log() -> bytes:
        stream = bench.cluster.logs(job.namespace, bench.pod(facts.uid).name, container=MAIN_CONTAINER, follow=False)
        return b"".join([chunk async for chunk in stream])

    bench.cluster.fail_next("logs", TemporaryError("502"))
    with pytest.raises(TemporaryError, match="502"):
        await log()
    assert await log() == b"hello\n"
    bench.cluster.fail_next("logs", NotFound("rotated"))
    with pytest.raises(NotFound):
        await log()


# -- watches ---------------------------------------------------------------------------------------------------------


@pytest.mark.asyncio
async def test_what_is_missed_in_a_disconnect_comes_with_the_next_list(bench: Bench) -> None:
    job, deleted = await bench.create(run="forever")
    _, finished = await bench.create(run="1s", exit_code="3")
    _, unchanged = await bench.create(run="forever")
    await bench.pass_seconds(0.5)
    bench.cluster.job_feed.hold()
    bench.cluster.pod_feed.hold()
    before = len(bench.jobs.events)
    await bench.cluster.delete(job.namespace, job.cluster_name, cluster_uid=deleted.uid, wait_for_pods=False)
    _, created = await bench.create(run="forever")
    await bench.pass_seconds(5)
    assert len(bench.jobs.events) == before, "a half-open watch is silent"
    bench.cluster.disconnect_watches()
    await bench.settle()
    events = bench.jobs.events[before:]
    assert isinstance(events[0], Relisting)
    assert isinstance(events[-1], Listed)
    listed = {event.facts.uid: event.facts for event in events if isinstance(event, SeenJob)}
    assert set(listed) == {deleted.uid, finished.uid, unchanged.uid, created.uid}
    assert listed[deleted.uid].gone
    assert listed[finished.uid].condition("Failed")
    assert bench.pod(deleted.uid).gone
    await bench.pass_seconds(1)
    assert len(bench.jobs.events) == before + len(events)


@pytest.mark.asyncio
async def test_a_job_made_and_removed_while_nobody_watched_leaves_no_trace(bench: Bench) -> None:
    bench.cluster.job_feed.hold()
    job, facts = await bench.create()
    await bench.cluster.delete(job.namespace, job.cluster_name, cluster_uid=facts.uid, wait_for_pods=False)
    await bench.pass_seconds(1)
    bench.cluster.disconnect_watches()
    await bench.settle()
    assert bench.jobs.of(facts.uid) == []


@pytest.mark.asyncio
async def test_a_hold_that_is_released_loses_nothing(bench: Bench) -> None:
    bench.cluster.pod_feed.hold()
    _, facts = await bench.create(exit_code="3")
    await bench.pass_seconds(3)
    assert bench.pods.pods_of(facts.uid) == []
    assert bench.jobs.of(facts.uid)[-1].condition("Failed"), "the two watches are independent"
    bench.cluster.pod_feed.release()
    await bench.settle()
    assert bench.phases(facts.uid) == [("Pending", ""), ("Running", ""), ("Failed", "Error")]


@pytest.mark.asyncio
async def test_late_news_come_in_order(bench: Bench) -> None:
    bench.cluster.job_feed.delay_seconds = 10
    _, facts = await bench.create()
    await bench.pass_seconds(9)
    assert bench.jobs.of(facts.uid) == []
    await bench.pass_seconds(9)
    assert bench.conditions(facts.uid)[-1] == ("SuccessCriteriaMet", "Complete")
    versions = [job.resource_version for job in bench.jobs.of(facts.uid)]
    assert versions == sorted(versions)


@pytest.mark.asyncio
async def test_news_older_than_a_list_are_not_told_after_it(bench: Bench) -> None:
    job, facts = await bench.create(run="forever")
    await bench.pass_seconds(1)
    bench.cluster.job_feed.delay_seconds = 5
    await bench.cluster.delete(job.namespace, job.cluster_name, cluster_uid=facts.uid, wait_for_pods=False)
    bench.cluster.disconnect_watches()
    await bench.pass_seconds(10)
    assert [seen.gone for seen in bench.jobs.of(facts.uid)].count(True) == 1
    assert bench.jobs.of(facts.uid)[-1].gone


@pytest.mark.asyncio
async def test_late_news_of_what_a_list_no_longer_holds_are_not_told(bench: Bench) -> None:
    bench.cluster.job_feed.delay_seconds = 5
    job, facts = await bench.create()
    await bench.cluster.delete(job.namespace, job.cluster_name, cluster_uid=facts.uid, wait_for_pods=False)
    bench.cluster.disconnect_watches()
    await bench.pass_seconds(10)
    assert bench.jobs.of(facts.uid) == []


@pytest.mark.asyncio
async def test_news_can_come_twice(bench: Bench) -> None:
    bench.cluster.job_feed.duplicate = True
    _, facts = await bench.create()
    await bench.pass_seconds(3)
    seen = bench.jobs.of(facts.uid)
    assert seen[0::2] == seen[1::2]
    assert len(seen) == 8


@pytest.mark.asyncio
async def test_a_slow_list_is_followed_by_what_happened_meanwhile(bench: Bench) -> None:
    _, facts = await bench.create(run="1s")
    bench.cluster.job_feed.list_seconds = 10
    bench.cluster.disconnect_watches()
    before = len(bench.jobs.events)
    await bench.pass_seconds(9)
    assert len(bench.jobs.events) == before + 1
    await bench.pass_seconds(2)
    events = bench.jobs.events[before:]
    assert [type(event) for event in events[:3]] == [Relisting, SeenJob, Listed]
    assert bench.conditions(facts.uid)[-1] == ("SuccessCriteriaMet", "Complete")


# -- witness ---------------------------------------------------------------------------------------------------------


@pytest.mark.asyncio
async def test_the_witness_sees_two_cluster_jobs_of_one_attempt(bench: Bench) -> None:
    job = scripted(run="forever")
    await bench.cluster.create(job)
    await bench.cluster.create(replace(job, cluster_name="another-name"))
    await bench.pass_seconds(1)
    key = (job.job_id, job.attempt)
    assert bench.cluster.history.most_alive[key] == 2
    assert bench.cluster.history.starts[key] == 2
    assert len(bench.cluster.history.violations()) == 2


@pytest.mark.asyncio
async def test_the_witness_is_content_with_one_after_another_attempt(bench: Bench) -> None:
    job, first = await bench.create()
    await bench.pass_seconds(2)
    await bench.cluster.delete(job.namespace, job.cluster_name, cluster_uid=first.uid, wait_for_pods=False)
    await bench.cluster.create(replace(job, attempt=2, cluster_name=job.cluster_name[:-1] + "2"))
    await bench.pass_seconds(2)
    assert bench.cluster.history.violations() == []
    assert bench.cluster.history.alive_now == 1


@pytest.mark.asyncio
async def test_nothing_of_a_job_that_is_gone_is_kept_without_history(make_bench: Make) -> None:
    bench: Bench = await make_bench(keep_history=False)
    for _ in range(5):
        job, facts = await bench.create()
        await bench.pass_seconds(2)
        await bench.cluster.delete(job.namespace, job.cluster_name, cluster_uid=facts.uid, wait_for_pods=True)
        await bench.pass_seconds(1)
    world, history = bench.cluster._world, bench.cluster.history
    kept = (world.by_uid, world.by_name, world.by_pod, world.by_pod_uid, world.job_feed.objects, world.pod_feed.objects)
    assert all(not table for table in kept)
    counts = (history.alive, history.creates, history.deletes, history.starts, history.most_alive)
    assert all(not table for table in counts)
    assert bench.cluster.next_due is None


# -- time and scripts ------------------------------------------------------------------------------------------------


@pytest.mark.asyncio
async def test_only_a_stepped_clock_can_be_advanced() -> None:
    with pytest.raises(TypeError, match="SteppedClock"):
        SimulatedCluster(clock=SystemClock()).advance(1)


@pytest.mark.asyncio
async def test_it_follows_its_clock_by_itself() -> None:
    cluster = SimulatedCluster(clock=SystemClock(), condition_lag_seconds=0.0)
    cluster.start()
    cluster.start()
    job = scripted(run="20ms", exit_code="3")
    facts = await cluster.create(job)
    bench = Bench()
    bench.jobs.follow(cluster.watch_jobs())
    await poll(lambda: any(seen.condition("Failed") for seen in bench.jobs.of(facts.uid)), what="the job to fail")
    await bench.jobs.stop()
    await cluster.close()
    assert {task.get_name() for task in asyncio.all_tasks()} & {"simulated-cluster"} == set()


def test_a_stepped_clock_never_steps_back() -> None:
    clock = SteppedClock()
    clock.move_to(5)
    clock.move_to(3)
    assert clock.monotonic() == 5


@pytest.mark.parametrize(
    ("text", "expected"), [("0s", 0), ("2s", 2), ("250ms", 0.25), ("1m30s", 90), ("1.5s", 1.5), ("1h", 3600)]
)
def test_durations(text: str, expected: float) -> None:
    assert seconds(text) == expected


def test_a_spec_without_annotations_runs_and_succeeds_at_once() -> None:
    assert read(JobSpec(image="x")) == Script()
    assert read(JobSpec(image="x", annotations={"example.com/mode": "stuck"})) == Script()
