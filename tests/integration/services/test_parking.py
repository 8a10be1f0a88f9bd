"""A namespace whose quota is full, through the whole pipeline: with PostgreSQL, and a cluster that refuses."""

from __future__ import annotations

import asyncio
import datetime as dt
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from kube_job_runner.adapters import postgres
from kube_job_runner.domain.errors import ClusterRefused, QuotaBusy, TemporaryError
from kube_job_runner.domain.facts import Condition, ContainerFacts, EventFacts, JobFacts, PodFacts, Seen
from kube_job_runner.domain.job import Attempt, Job
from kube_job_runner.domain.limits import AdmissionLimits
from kube_job_runner.domain.messages import Observed, Outgoing
from kube_job_runner.domain.spec.model import Retry
from kube_job_runner.domain.states import State
from tests.integration.services.test_process import Bench
from tests.support.postgres import age, fetch

pytestmark = pytest.mark.asyncio


@pytest_asyncio.fixture
async def bench(database_url: str) -> AsyncIterator[Bench]:
    pg = await postgres.connect(database_url, pool_size=5)
    yield Bench(pg, database_url)
    await pg.close()


async def rounds(bench: Bench, count: int, **limits: Any) -> None:
    processor = bench.make(limits=AdmissionLimits(**limits), admit_seconds=0.0)
    for _ in range(count):
        await processor.run_once(wait_seconds=0)


async def states(bench: Bench, jobs: list[Job]) -> list[State]:
    return [(await bench.state(job)).state for job in jobs]


async def in_flight(bench: Bench) -> int:
    where = "admitted_at IS NOT NULL AND state IN ('queued', 'starting', 'running', 'stopping')"
    return int((await fetch(bench.url, f"SELECT count(*) AS n FROM jobs WHERE {where}"))[0]["n"])


async def probe_now(bench: Bench) -> None:
    await age(bench.url, "parked_namespaces", "probe_at", 3600)


async def test_jobs_that_a_quota_refuses_take_no_slot_from_others(bench: Bench) -> None:
    bench.cluster.quotas = {"full": 0}
    full = await bench.submit(20, namespace="full")
    await rounds(bench, 2, total=4)
    assert await in_flight(bench) == 0
    others = await bench.submit(4)
    await rounds(bench, 2, total=4)
    assert await states(bench, others) == [State.STARTING] * 4
    assert await states(bench, full) == [State.QUEUED] * 20
    first = await bench.state(full[0])
    assert first.admitted_at is None
    assert first.explanation.startswith("Waiting to be created: exceeded quota")
    assert "raises the quota" in first.explanation
    assert first.next_check_at == first.queue_deadline


async def test_a_full_namespace_costs_one_create_now_and_then(bench: Bench) -> None:
    bench.cluster.quotas = {"full": 0}
    await bench.submit(20, namespace="full")
    await rounds(bench, 3, total=4)
    asked: list[str] = []
    bench.cluster.faults.choose = asked.append
    for tries in range(2, 6):
        await probe_now(bench)
        await rounds(bench, 3, total=4)
        [row] = await fetch(bench.url, "SELECT tries FROM parked_namespaces")
        assert row["tries"] == tries, "one probe, though three rounds had slots for more"
    assert asked.count("create") == 4


async def test_room_is_used_at_once_when_a_probe_finds_it(bench: Bench) -> None:
    bench.cluster.quotas = {"full": 0}
    jobs = await bench.submit(20, namespace="full")
    await rounds(bench, 2)
    bench.cluster.quotas = {}
    await probe_now(bench)
    await rounds(bench, 6)
    assert await states(bench, jobs) == [State.STARTING] * 20
    assert bench.cluster.history.violations() == []
    assert (await bench.state(jobs[-1])).explanation == ""


async def test_a_quota_with_some_room_is_filled_and_never_asked_for_more_at_once(bench: Bench) -> None:
    bench.cluster.quotas = {"full": 5}
    jobs = await bench.submit(20, namespace="full")
    for _ in range(6):
        await rounds(bench, 4)
        await probe_now(bench)
    assert (await states(bench, jobs)).count(State.STARTING) == 5
    assert await in_flight(bench) == 5
    bench.cluster.quotas = {"full": 12}
    for _ in range(6):
        await probe_now(bench)
        await rounds(bench, 4)
    assert (await states(bench, jobs)).count(State.STARTING) == 12


async def test_a_job_whose_first_create_got_through_is_adopted_though_its_own_job_fills_the_quota(bench: Bench) -> None:
    bench.cluster.quotas = {"full": 1}
    [job] = await bench.submit(1, namespace="full")
    bench.cluster.fail_next("create", TemporaryError("the answer was lost"), after=True)
    await rounds(bench, 1)
    assert (await bench.state(job)).state is State.QUEUED
    await age(bench.url, "jobs", "next_check_at", 3600)
    await bench.pg.sweep_store.send_due_checks(limit=10, rearm_seconds=60)
    await rounds(bench, 1)
    assert (await bench.state(job)).state is State.STARTING
    assert await fetch(bench.url, "SELECT FROM parked_namespaces") == []


async def test_a_missing_right_parks_the_namespace_too(bench: Bench) -> None:
    [job] = await bench.submit(1, namespace="closed")
    bench.cluster.fail_next("create", ClusterRefused("jobs.batch is forbidden", reason="Forbidden", status=403))
    await rounds(bench, 1)
    waits = await bench.state(job)
    assert (waits.state, waits.admitted_at) == (State.QUEUED, None)
    assert "grant it the right" in waits.explanation


@pytest.mark.parametrize("find", ["answers", "forbidden"])
async def test_a_namespace_that_is_deleted_with_our_rights_ends_its_jobs_and_parks_nothing(
    bench: Bench, find: str
) -> None:
    """The deletion removes a pod before its Job, and then our Role: the free retry may never be created."""
    [job] = await bench.submit(1, namespace="doomed", retry=Retry(attempts=1, backoff_seconds=0))
    await rounds(bench, 1)
    [attempt] = await bench.pg.job_reader.list_attempts(job.id)
    uid, now = attempt.cluster_uid or "", dt.datetime.now(dt.UTC)
    ended = ContainerFacts(name="main", state="terminated", exit_code=143, started_at=now, finished_at=now)
    pod = PodFacts(
        uid="p", name="p", job_uid=uid, resource_version=10**6, phase="Failed", containers=(ended,), deleting=True,
        deletion_due_at=now, deletion_grace_seconds=0,
    )  # fmt: skip
    failed = JobFacts(uid=uid, resource_version=10**6, conditions=(Condition(type="Failed", reason="Backoff"),))
    bench.cluster.fail_next("create", ClusterRefused("jobs.batch is forbidden", reason="Forbidden", status=403))
    if find == "forbidden":
        bench.cluster.fail_next("find", TemporaryError("cannot get resource", reason="Forbidden"))
    await see(bench, job, pod, failed)
    await rounds(bench, 3)
    after = await bench.state(job)
    assert (after.state, after.reason) == (State.FAILED, "NamespaceTerminating")
    assert "Somebody deleted the pod" in after.explanation
    assert [each.verdict and each.verdict.reason for each in await bench.pg.job_reader.list_attempts(job.id)] == [
        "PodDeleted"
    ]
    assert await fetch(bench.url, "SELECT FROM parked_namespaces") == []


@pytest.mark.parametrize(("reason", "ends"), [("Forbidden", True), ("ClusterUnavailable", False)])
async def test_a_job_that_was_reported_gone_ends_though_the_look_at_it_is_forbidden(
    bench: Bench, reason: str, ends: bool
) -> None:
    [job] = await bench.submit(1, namespace="doomed")
    await rounds(bench, 1)
    [attempt] = await bench.pg.job_reader.list_attempts(job.id)
    bench.cluster.fail_next("look", TemporaryError("cannot get resource", reason=reason))
    await see(bench, job, JobFacts(uid=attempt.cluster_uid or "", resource_version=10**6, gone=True))
    await rounds(bench, 1)
    assert ((await bench.state(job)).reason == "JobDeleted") is ends


async def test_a_quota_that_could_not_be_counted_parks_nothing(bench: Bench) -> None:
    [job] = await bench.submit(1, namespace="busy")
    bench.cluster.fail_next("create", QuotaBusy("resource quota evaluation timed out", reason="QuotaExceeded"))
    await rounds(bench, 1)
    assert (await bench.state(job)).in_flight, "its own create is retried"
    assert await fetch(bench.url, "SELECT FROM parked_namespaces") == []


async def test_a_cancel_of_a_job_in_a_parked_namespace_is_settled_at_once(bench: Bench) -> None:
    bench.cluster.quotas = {"full": 0}
    [job] = await bench.submit(1, namespace="full")
    await rounds(bench, 1)
    await bench.pg.submit_store.request_cancel(job.id, by="ann", reason="")
    await rounds(bench, 1)
    assert (await bench.state(job)).state is State.CANCELLED


async def test_several_processors_fill_a_quota_that_comes_and_goes(bench: Bench) -> None:
    bench.cluster.quotas = {"a": 1, "b": 3}
    jobs = [
        *(await bench.submit(10, namespace="a")),
        *(await bench.submit(10, namespace="b")),
        *(await bench.submit(5)),
    ]
    processors = [bench.make(limits=AdmissionLimits(total=12), admit_seconds=0.0) for _ in range(4)]

    async def turns(count: int) -> None:
        for _ in range(count):
            await asyncio.gather(*(processor.run_once(wait_seconds=0) for processor in processors))
            await probe_now(bench)

    await turns(4)
    assert (await states(bench, jobs)).count(State.STARTING) == 1 + 3 + 5
    bench.cluster.quotas = {}
    async with asyncio.timeout(30):
        await turns(8)
    assert (await states(bench, jobs)).count(State.STARTING) == 12, "the limit of the installation"
    assert bench.cluster.history.violations() == []


def pods_refused(attempt: Attempt) -> EventFacts:
    text = (
        'Error creating: pods "x" is forbidden: exceeded quota: few, requested: pods=1, used: pods=1, limited: pods=1'
    )
    return EventFacts(
        uid="e",
        resource_version=5,
        object_kind="Job",
        object_uid=attempt.cluster_uid or "",
        reason="FailedCreate",
        message=text,
        last_at=dt.datetime.now(dt.UTC),
    )


async def see(bench: Bench, job: Job, *seen: Seen) -> None:
    await bench.pg.queue.send([Outgoing(message=Observed(job_id=job.id, attempt=1, seen=each)) for each in seen])


async def test_a_quota_that_refuses_pods_stops_the_namespace_and_no_other(bench: Bench) -> None:
    first = await bench.submit(1, namespace="full")
    await rounds(bench, 1)
    [attempt] = await bench.pg.job_reader.list_attempts(first[0].id)
    await see(bench, first[0], pods_refused(attempt))
    await rounds(bench, 1)
    assert (await bench.state(first[0])).waiting_since is not None
    behind, other = await bench.submit(5, namespace="full"), await bench.submit(1)
    await rounds(bench, 3)
    assert await states(bench, behind) == [State.QUEUED] * 5
    assert await states(bench, other) == [State.STARTING]
    made = PodFacts(uid="p", name="p", job_uid=attempt.cluster_uid or "", resource_version=9, phase="Pending")
    await see(bench, first[0], made)
    await rounds(bench, 4)
    assert await states(bench, behind) == [State.STARTING] * 5


@pytest.mark.parametrize("held", ["suspended", "no node"])
async def test_a_job_that_waits_for_something_else_keeps_no_namespace_parked(bench: Bench, held: str) -> None:
    waits, first = await bench.submit(2, namespace="full")
    await rounds(bench, 1)
    [of_waits] = await bench.pg.job_reader.list_attempts(waits.id)
    [attempt] = await bench.pg.job_reader.list_attempts(first.id)
    uid = of_waits.cluster_uid or ""
    if held == "suspended":
        await see(bench, waits, JobFacts(uid=uid, resource_version=99, suspend=True))
    else:
        full = Condition("PodScheduled", "False", "Unschedulable", "0/3 nodes are available: 3 Insufficient cpu.")
        pod = PodFacts(uid="q", name="q", job_uid=uid, resource_version=9, phase="Pending", conditions=(full,))
        await see(bench, waits, pod)
    await see(bench, first, pods_refused(attempt))
    await rounds(bench, 1)
    assert (await bench.state(waits)).waiting_since is not None
    behind = await bench.submit(5, namespace="full")
    await rounds(bench, 2)
    assert await states(bench, behind) == [State.QUEUED] * 5
    made = PodFacts(uid="p", name="p", job_uid=attempt.cluster_uid or "", resource_version=9, phase="Pending")
    await see(bench, first, made)
    await rounds(bench, 4)
    assert await states(bench, behind) == [State.STARTING] * 5
