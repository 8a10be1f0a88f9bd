"""Group commit: commits are shared, one bad row fails alone, and the queue is bounded."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime

import pytest

from kube_job_runner.domain.errors import DatabaseUnavailable
from kube_job_runner.domain.job import new_job
from kube_job_runner.domain.spec.model import JobSpec, Retry
from kube_job_runner.ports import Submission
from kube_job_runner.services.intake import Overloaded, Submitter
from tests.unit.web.fakes import FakeStore

NOW = datetime(2026, 1, 15, tzinfo=UTC)


def submission(name: str = "job", **more: object) -> Submission:
    job, spec = new_job(JobSpec(image="busybox", name=name), owner="o", default_namespace="default", now=NOW)
    return Submission(job=job, spec=spec, **more)  # type: ignore[arg-type]


def test_a_new_job_takes_its_defaults() -> None:
    spec = JobSpec(image="registry.example.com/team/My_App:1", retry=Retry(attempts=3))
    job, encoded = new_job(spec, owner="o", default_namespace="work", now=NOW)
    assert (job.name, job.namespace, job.queue, job.owner) == ("my-app", "work", "default", "o")
    assert job.policy.retry.attempts == 3
    assert (job.created_at, job.due_at, job.version) == (NOW, NOW, 1)
    assert b"My_App" in encoded


@pytest.mark.asyncio
async def test_those_who_wait_share_commits() -> None:
    store = FakeStore()
    gate = asyncio.Event()
    store.before_insert = lambda _batch: gate.wait()
    submitter = Submitter(store, committers=2, batch_max=500)
    first = [asyncio.create_task(submitter.submit(submission())) for _ in range(3)]
    for _ in range(5):
        await asyncio.sleep(0)
    rest = [asyncio.create_task(submitter.submit(submission())) for _ in range(1200)]
    for _ in range(5):
        await asyncio.sleep(0)
    gate.set()
    outcomes = await asyncio.gather(*first, *rest)
    assert {outcome.status for outcome in outcomes} == {"created"}
    assert len(store.jobs) == 1203
    assert max(store.commits) == 500
    assert len(store.commits) <= 5


@pytest.mark.asyncio
async def test_one_bad_row_fails_alone() -> None:
    store = FakeStore()

    def refuse(batch: Sequence[Submission]) -> None:
        if any(one.job.name == "bad" for one in batch):
            raise ValueError("value out of range")

    store.before_insert = refuse
    submitter = Submitter(store)
    names = ["a", "bad", "c", "d"]
    answers = await asyncio.gather(*(submitter.submit(submission(name)) for name in names), return_exceptions=True)
    assert [isinstance(answer, ValueError) for answer in answers] == [False, True, False, False]
    assert sorted(job.name for job in store.jobs.values()) == ["a", "c", "d"]
    many = await submitter.submit_many([submission(name) for name in names])
    assert [isinstance(answer, ValueError) for answer in many] == [False, True, False, False]


@pytest.mark.asyncio
async def test_without_a_database_nothing_is_tried_twice() -> None:
    store = FakeStore()
    calls = []

    def refuse(batch: Sequence[Submission]) -> None:
        calls.append(len(batch))
        raise DatabaseUnavailable

    store.before_insert = refuse
    submitter = Submitter(store)
    answers = await asyncio.gather(*(submitter.submit(submission()) for _ in range(10)), return_exceptions=True)
    assert all(isinstance(answer, DatabaseUnavailable) for answer in answers)
    assert sum(calls) == 10
    with pytest.raises(DatabaseUnavailable):
        await submitter.submit_many([submission(), submission()])


@pytest.mark.asyncio
async def test_a_full_queue_refuses() -> None:
    store = FakeStore()
    gate = asyncio.Event()
    store.before_insert = lambda _batch: gate.wait()
    submitter = Submitter(store, committers=1, batch_max=1, queue_max=2)
    tasks = [asyncio.create_task(submitter.submit(submission()))]
    for _ in range(3):
        await asyncio.sleep(0)
    tasks += [asyncio.create_task(submitter.submit(submission())) for _ in range(2)]
    await asyncio.sleep(0)
    with pytest.raises(Overloaded):
        await submitter.submit(submission())
    gate.set()
    assert len(await asyncio.gather(*tasks)) == 3


@pytest.mark.asyncio
async def test_a_request_that_goes_away_harms_nobody_and_close_waits() -> None:
    store = FakeStore()
    gate = asyncio.Event()
    store.before_insert = lambda _batch: gate.wait()
    submitter = Submitter(store)
    gone, stays = (asyncio.create_task(submitter.submit(submission())) for _ in range(2))
    await asyncio.sleep(0)
    gone.cancel()
    closing = asyncio.create_task(submitter.close())
    for _ in range(3):
        await asyncio.sleep(0)
    assert not closing.done()
    gate.set()
    await closing
    assert (await stays).status == "created"
    assert len(store.jobs) == 2
