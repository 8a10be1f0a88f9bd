"""From the cluster's words to the attempt's row, and from a `Delete` message to a pod that is taken out by force."""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from kube_job_runner import ports
from kube_job_runner.adapters import postgres
from kube_job_runner.adapters.simulated import SimulatedCluster, SteppedClock
from kube_job_runner.domain.decide.ruleset import Rules
from kube_job_runner.domain.facts import AttemptFacts
from kube_job_runner.domain.job import Attempt, Job, new_job
from kube_job_runner.domain.limits import AdmissionLimits
from kube_job_runner.domain.messages import Delete, Outgoing
from kube_job_runner.domain.spec.model import JobSpec
from kube_job_runner.services.observe import Kind, Observer
from kube_job_runner.services.pipeline.processor import Processor
from kube_job_runner.settings.groups import BatchSettings
from tests.support.clocks import SystemClock

pytestmark = pytest.mark.asyncio


class Bench:
    """A processor and both watchers of pods over a simulated cluster and a real store."""

    def __init__(self, pg: postgres.Postgres) -> None:
        self.pg = pg
        self.cluster = SimulatedCluster(clock=SteppedClock())
        self.processor = Processor(
            store=pg.process_store,
            queue=pg.queue,
            cluster=self.cluster,
            clock=SystemClock(),
            rules=Rules(),
            limits=AdmissionLimits(),
            settings=BatchSettings(lease_seconds=30.0),
        )

    def observer(self, kind: Kind) -> Observer:
        watches = {"job": self.cluster.watch_jobs, "pod": self.cluster.watch_pods, "event": self.cluster.watch_events}
        return Observer(
            kind=kind, events=watches[kind](), store=self.pg.observe_store, queue=self.pg.queue, clock=SystemClock()
        )

    async def start(self, **annotations: str) -> tuple[Job, Attempt]:
        given = {f"kjr.test/{key.replace('_', '-')}": value for key, value in annotations.items()}
        job, spec = new_job(
            JobSpec(image="busybox:1", annotations=given),
            owner="ann",
            default_namespace="default",
            now=dt.datetime.now(dt.UTC),
        )
        await self.pg.submit_store.insert_jobs([ports.Submission(job=job, spec=spec)])
        await self.processor.run_once(wait_seconds=1)
        return job, await self.attempt(job)

    async def attempt(self, job: Job) -> Attempt:
        (attempt,) = await self.pg.job_reader.list_attempts(job.id)
        return attempt

    async def until(self, job: Job, check: str) -> AttemptFacts:
        """Let time pass until an attribute of the attempt's facts is true."""
        async with asyncio.timeout(20):
            while not getattr(facts := (await self.attempt(job)).facts, check):
                self.cluster.advance(0.1)
                await self.processor.run_once(wait_seconds=0.1)
            return facts


@pytest_asyncio.fixture
async def bench(database_url: str) -> AsyncIterator[Bench]:
    pg = await postgres.connect(database_url, pool_size=5)
    made = Bench(pg)
    watching = [asyncio.create_task(made.observer(kind).run()) for kind in ("job", "pod", "event")]
    yield made
    for task in watching:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
    await pg.close()


async def test_what_is_said_about_a_pod_is_kept_with_its_attempt(bench: Bench) -> None:
    job, _ = await bench.start(run="forever", event="FailedMount: secret not found")
    facts = await bench.until(job, "pod_events")
    (event,) = facts.pod_events
    assert (event.reason, event.message, event.object_uid) == ("FailedMount", "secret not found", facts.pods[0].uid)


async def test_what_is_said_about_a_job_without_a_pod_is_kept(bench: Bench) -> None:
    job, attempt = await bench.start(mode="nopod")
    facts = await bench.until(job, "job_events")
    assert facts.job_events[0].object_uid == attempt.cluster_uid
    assert "exceeded quota" in facts.job_events[0].message
    assert facts.pods == ()


async def test_a_delete_message_takes_a_pod_out_by_force(bench: Bench) -> None:
    job, attempt = await bench.start(run="forever")
    facts = await bench.until(job, "pod")
    pod = facts.pods[0]
    assert attempt.cluster_uid is not None
    bench.cluster.lose_node(attempt.cluster_uid)

    async def delete(grace_seconds: int | None) -> None:
        message = Delete(
            job_id=job.id,
            attempt=1,
            namespace=attempt.namespace,
            cluster_name=attempt.cluster_name,
            cluster_uid=attempt.cluster_uid or "",
            wait_for_pods=True,
            pods=((pod.name, pod.uid),),
            grace_seconds=grace_seconds,
        )
        await bench.pg.queue.send([Outgoing(message=message)])
        await bench.processor.run_once(wait_seconds=1)

    await delete(None)
    bench.cluster.advance(3600)
    assert await bench.cluster.find(attempt.namespace, attempt.cluster_name) is not None, "its node never answers"
    await delete(0)
    bench.cluster.advance(1)
    assert await bench.cluster.find(attempt.namespace, attempt.cluster_name) is None
    await bench.until(job, "gone")
