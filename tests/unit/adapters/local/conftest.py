"""A local cluster in a folder of its own, with both watches recorded."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest_asyncio

from kube_job_runner.adapters.local import LocalCluster
from kube_job_runner.domain.facts import ContainerFacts, JobFacts, PodFacts
from kube_job_runner.domain.names import MAIN_CONTAINER
from kube_job_runner.domain.spec.model import JobSpec
from kube_job_runner.ports import ClusterJob
from tests.support.clocks import SystemClock
from tests.support.clusters import Recorder, cluster_job, poll


class Bench:
    """A started local cluster and what its watchers saw."""

    def __init__(self, cluster: LocalCluster, folder: Path) -> None:
        self.cluster = cluster
        self.folder = folder
        self.jobs = Recorder().follow(cluster.watch_jobs())
        self.pods = Recorder().follow(cluster.watch_pods())

    async def close(self) -> None:
        await self.jobs.stop()
        await self.pods.stop()
        await self.cluster.close()

    async def run(self, spec: JobSpec) -> tuple[ClusterJob, JobFacts]:
        job = cluster_job(spec)
        return job, await self.cluster.create(job)

    def pod(self, uid: str) -> PodFacts | None:
        seen = self.pods.pods_of(uid)
        return seen[-1] if seen else None

    async def until_pod(self, uid: str, *phases: str) -> PodFacts:
        def found() -> PodFacts | None:
            pod = self.pod(uid)
            return pod if pod is not None and pod.phase in phases else None

        return await poll(found, what=f"a pod in {phases}")

    async def main(self, uid: str) -> ContainerFacts:
        """The main container of a pod that has ended."""
        return main_of(await self.until_pod(uid, "Succeeded", "Failed"))

    async def until_gone(self, uid: str) -> None:
        await poll(lambda: any(facts.gone for facts in self.jobs.of(uid)), what="the job to be gone")
        await poll(lambda: all(self.pods.of(pod.uid)[-1].gone for pod in self.pods.pods_of(uid)), what="its pod too")

    async def delete(self, job: ClusterJob, uid: str, *, wait_for_pods: bool = True) -> None:
        await self.cluster.delete(job.namespace, job.cluster_name, cluster_uid=uid, wait_for_pods=wait_for_pods)

    async def log(self, job: ClusterJob, uid: str) -> bytes:
        pod = self.pod(uid)
        assert pod is not None
        stream = self.cluster.logs(job.namespace, pod.name, container=MAIN_CONTAINER, follow=True)
        return b"".join([chunk async for chunk in stream])


def main_of(pod: PodFacts) -> ContainerFacts:
    main = pod.container(MAIN_CONTAINER)
    assert main is not None
    return main


def shell(script: str, **fields: Any) -> JobSpec:
    """A spec that runs a shell script."""
    return JobSpec(image="busybox", command=("/bin/sh", "-c", script), **fields)


async def open_bench(folder: Path, **options: Any) -> Bench:
    """A bench on a folder, which may hold what an earlier one left."""
    cluster = LocalCluster(folder, clock=SystemClock(), **options)
    await cluster.start()
    bench = Bench(cluster, folder)
    await poll(lambda: bench.jobs.listed and bench.pods.listed)
    return bench


@pytest_asyncio.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Bench]:
    bench = await open_bench(tmp_path)
    yield bench
    await bench.close()
