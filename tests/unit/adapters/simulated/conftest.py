"""A simulated cluster whose time the test moves, with both watches recorded."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest_asyncio

from kube_job_runner.adapters.simulated import SimulatedCluster, SteppedClock
from kube_job_runner.domain.facts import ContainerFacts, JobFacts, PodFacts
from kube_job_runner.domain.names import MAIN_CONTAINER
from kube_job_runner.domain.spec.model import JobSpec
from kube_job_runner.ports import ClusterJob
from tests.support.clusters import Recorder, cluster_job


class Bench:
    """A simulated cluster and what its watchers saw."""

    def __init__(self, **options: Any) -> None:
        self.clock = SteppedClock()
        self.cluster = SimulatedCluster(clock=self.clock, **options)
        self.jobs = Recorder()
        self.pods = Recorder()

    async def start(self) -> Bench:
        self.jobs.follow(self.cluster.watch_jobs())
        self.pods.follow(self.cluster.watch_pods())
        await self.settle()
        return self

    async def stop(self) -> None:
        await self.jobs.stop()
        await self.pods.stop()

    async def settle(self) -> None:
        """Let the watchers take what is there for them."""
        for _ in range(20):
            await asyncio.sleep(0)

    async def pass_seconds(self, seconds: float, *, step_seconds: float = 0.1) -> None:
        """Let time pass in steps, so that the watchers see each state."""
        steps = max(1, round(seconds / step_seconds))
        for _ in range(steps):
            self.cluster.advance(seconds / steps)
            await self.settle()

    async def create(self, **annotations: str) -> tuple[ClusterJob, JobFacts]:
        job = scripted(**annotations)
        return job, await self.cluster.create(job)

    def phases(self, uid: str) -> list[tuple[str, str]]:
        """Phase and container reason of a pod, as they changed."""
        found: list[tuple[str, str]] = []
        for pod in self.pods.pods_of(uid):
            main = pod.container(MAIN_CONTAINER)
            now = (pod.phase, main.reason if main else "")
            if not found or found[-1] != now:
                found.append(now)
        return found

    def conditions(self, uid: str) -> list[tuple[str, ...]]:
        """The condition types of a Job, as they changed."""
        found: list[tuple[str, ...]] = []
        for job in self.jobs.of(uid):
            now = tuple(condition.type for condition in job.conditions)
            if not found or found[-1] != now:
                found.append(now)
        return found

    def pod(self, uid: str) -> PodFacts:
        pod: PodFacts = self.pods.pods_of(uid)[-1]
        return pod

    def main(self, uid: str) -> ContainerFacts:
        main = self.pod(uid).container(MAIN_CONTAINER)
        assert main is not None
        return main


def scripted(**annotations: str) -> ClusterJob:
    """A job with annotations `kjr.test/...`; underscores stand for hyphens."""
    given = {f"kjr.test/{key.replace('_', '-')}": value for key, value in annotations.items()}
    return cluster_job(JobSpec(image="example/image:1", command=("work",), annotations=given))


@pytest_asyncio.fixture
async def make_bench() -> AsyncIterator[Callable[..., Any]]:
    made: list[Bench] = []

    async def make(**options: Any) -> Bench:
        made.append(await Bench(**options).start())
        return made[-1]

    yield make
    for bench in made:
        await bench.stop()


@pytest_asyncio.fixture
async def bench(make_bench: Callable[..., Any]) -> Bench:
    made: Bench = await make_bench()
    return made
