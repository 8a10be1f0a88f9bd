"""The same database and another cluster: nothing is called gone, nothing starts there, and a person decides."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from kube_job_runner.adapters import postgres
from kube_job_runner.adapters.simulated import SimulatedCluster
from kube_job_runner.bootstrap import relocating
from kube_job_runner.domain.errors import WrongCluster
from kube_job_runner.domain.job import Job
from kube_job_runner.domain.states import State
from kube_job_runner.services.observe import Observer
from kube_job_runner.services.reconcile import Reconciler
from kube_job_runner.settings.groups import SweepSettings
from tests.integration.services.test_process import Bench
from tests.support.clocks import LoopClock
from tests.support.postgres import fetch

pytestmark = pytest.mark.asyncio


@pytest_asyncio.fixture
async def bench(database_url: str) -> AsyncIterator[Bench]:
    pg = await postgres.connect(database_url, pool_size=5)
    yield Bench(pg, database_url)
    await pg.close()


async def moved(bench: Bench) -> list[Job]:
    """Start three jobs, queue a fourth, then lead everything to another cluster."""
    jobs = await bench.submit(3)
    await bench.processor.run_once(wait_seconds=1)
    bench.cluster = SimulatedCluster(clock=LoopClock(), seed=2)
    bench.processor = bench.make()
    return jobs


async def test_no_component_works_with_another_cluster(bench: Bench) -> None:
    jobs = await moved(bench)
    [waiting] = await bench.submit()
    with pytest.raises(WrongCluster):
        await bench.processor.run_once(wait_seconds=1)
    for kind, events in (("job", bench.cluster.watch_jobs()), ("pod", bench.cluster.watch_pods())):
        observer = Observer(
            kind="job" if kind == "job" else "pod",
            events=events,
            store=bench.pg.observe_store,
            queue=bench.pg.queue,
            clock=LoopClock(),
        )
        with pytest.raises(WrongCluster):
            await asyncio.wait_for(observer.run(), timeout=10)
    reconciler = Reconciler(
        store=bench.pg.reconcile_store,
        cluster=bench.cluster,
        queue=bench.pg.queue,
        clock=LoopClock(),
        settings=SweepSettings(),
    )
    with pytest.raises(WrongCluster):
        await reconciler.run_once()
    assert {(await bench.state(job)).state for job in jobs} == {State.STARTING}
    assert (await bench.state(waiting)).state is State.QUEUED
    assert bench.cluster.history.creates == {}


async def test_an_accepted_move_ends_what_ran_and_starts_nothing_again(bench: Bench) -> None:
    jobs = await moved(bench)
    [waiting] = await bench.submit()
    bound, found = await bench.pg.bound_cluster.bound_clusters(), await bench.cluster.identity()
    live, not_admitted = await bench.pg.bound_cluster.count_live()
    assert (live, not_admitted) == (3, 1)
    assert await relocating.accept(bench.pg, relocating.Move(bound=bound, found=found, live=3, waiting=1)) == 3
    for job in jobs:
        ended = await bench.state(job)
        assert (ended.state, ended.reason) == (State.FAILED, "ClusterReplaced")
        assert "may still run there" in ended.explanation
    for _ in range(3):
        await bench.processor.run_once(wait_seconds=0.2)
    assert {(await bench.state(job)).state for job in jobs} == {State.FAILED}
    assert (await bench.state(waiting)).state is State.STARTING, "what waited runs in the new cluster"
    assert len(bench.cluster.history.creates) == 1
    left = "SELECT count(*) AS n FROM attempts WHERE gone_at IS NULL AND cluster_uid IS NOT NULL"
    [row] = await fetch(bench.url, left)
    assert row["n"] == 1, "nobody looks for the old cluster jobs in the new cluster"
