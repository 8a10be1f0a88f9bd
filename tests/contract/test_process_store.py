"""`ProcessStore` and `ObserveStore`: load a batch, commit the changes that still fit, and list the known cluster jobs."""

from __future__ import annotations

import asyncio
import random
from datetime import UTC, datetime, timedelta

import msgspec
import pytest

from kube_job_runner.adapters.postgres import Postgres
from kube_job_runner.domain import messages
from kube_job_runner.domain.errors import PermanentError
from kube_job_runner.domain.facts import AttemptFacts, ContainerFacts, JobFacts, PodFacts
from kube_job_runner.domain.job import Anomaly, Job, Verdict
from kube_job_runner.domain.messages import Check, Outgoing
from kube_job_runner.domain.states import State
from kube_job_runner.ports import Change, KnownClusterJob, KnownPod
from tests.support.postgres import (
    SPEC,
    fetch,
    finish,
    make_attempt,
    make_change,
    make_job,
    make_submission,
    store_jobs,
    until,
)

pytestmark = pytest.mark.asyncio
NOW = datetime.now(UTC).replace(microsecond=0)


async def stored(pg: Postgres, count: int = 1) -> list[Job]:
    """Store jobs and take their messages away."""
    jobs = await store_jobs(pg, *(make_submission() for _ in range(count)))
    found = await pg.queue.receive(limit=1000, wait_seconds=0, visibility_seconds=60)
    await pg.queue.ack([delivery.receipt for delivery in found])
    return jobs


async def test_loading_gives_jobs_attempts_specs_and_the_time(pg: Postgres, database_url: str) -> None:
    queued, running, unknown = *(await stored(pg, 2)), make_job()
    first, second = make_attempt(running, 1, gone_at=NOW), make_attempt(running, 2)
    change = make_change(running, State.RUNNING, number=2, attempts=(second, first))
    await pg.process_store.commit([change], receipts={})
    before = (await fetch(database_url, "SELECT clock_timestamp()"))[0][0]
    snapshot = await pg.process_store.load([queued.id, running.id, unknown.id])
    after = (await fetch(database_url, "SELECT clock_timestamp()"))[0][0]
    assert before < snapshot.now < after
    assert set(snapshot.jobs) == {queued.id, running.id}
    assert snapshot.jobs[queued.id].job == queued
    assert snapshot.jobs[queued.id].spec == SPEC
    assert snapshot.jobs[queued.id].attempts == {}
    assert snapshot.jobs[running.id].spec is None
    assert snapshot.jobs[running.id].attempts == {1: first, 2: second}
    assert list(snapshot.jobs[running.id].attempts) == [1, 2]


async def test_loading_nothing_still_tells_the_time(pg: Postgres) -> None:
    snapshot = await pg.process_store.load([])
    assert abs((snapshot.now - datetime.now(UTC)).total_seconds()) < 60
    assert snapshot.jobs == {}


async def test_a_commit_writes_everything_of_a_change(pg: Postgres, database_url: str) -> None:
    (job,) = await stored(pg)
    facts = AttemptFacts(
        job=JobFacts(uid="u1", resource_version=12),
        pods=(PodFacts(uid="p1", containers=(ContainerFacts(name="main", state="terminated", exit_code=3),)),),
    )
    attempt = make_attempt(
        job, 1, cluster_uid="u1", created_at=NOW, started_at=NOW, finished_at=NOW, node="n1", pod_name="pod",
        verdict=Verdict(outcome=State.FAILED, reason="ExitCode", explanation="exit code 3", exit_code=3), decided_at=NOW,
        unhealthy_reason="ErrImagePull", unhealthy_since=NOW, delete_requested_at=NOW, gone_at=NOW, facts=facts,
    )  # fmt: skip
    anomaly = Anomaly(job_id=job.id, attempt=1, kind="SucceededAfterFailed", detail="a \0 b", at=NOW)
    outgoing = (Outgoing(message=Check(job_id=job.id)), Outgoing(message=Check(job_id=job.id), delay_seconds=900))
    change = make_change(
        job, State.FAILED, reason="ExitCode", attempts=(attempt,), anomalies=(anomaly, anomaly), messages=outgoing
    )
    after = msgspec.structs.replace(change.job, explanation="it \0 exited", exit_code=3, started_at=NOW)
    change = msgspec.structs.replace(change, job=after)
    assert await pg.process_store.commit([change], receipts={}) == {job.id}
    shown = msgspec.structs.replace(after, explanation="it \N{REPLACEMENT CHARACTER} exited")
    assert await pg.job_reader.get_job(job.id) == shown
    assert await pg.job_reader.list_attempts(job.id) == [attempt]
    assert (await pg.job_reader.list_transitions(job.id))[1:] == list(change.transitions)
    assert [tuple(row) for row in await fetch(database_url, "SELECT attempt, kind, detail FROM anomalies")] == [
        (1, "SucceededAfterFailed", "a \N{REPLACEMENT CHARACTER} b")
    ]
    times = await fetch(
        database_url, "SELECT available_at - sent_at AS delay, body, priority FROM messages ORDER BY available_at"
    )
    assert [row["delay"] for row in times] == [timedelta(0), timedelta(seconds=900)]
    assert messages.decode(times[0]["body"]) == Check(job_id=job.id)


async def test_facts_with_a_nul_are_stored(pg: Postgres) -> None:
    (job,) = await stored(pg)
    facts = AttemptFacts(pods=(PodFacts(uid="p", message="termination \0 log \\u0000"),))
    change = make_change(job, State.RUNNING, attempts=(make_attempt(job, facts=facts, unhealthy_reason="\0"),))
    await pg.process_store.commit([change], receipts={})
    (attempt,) = await pg.job_reader.list_attempts(job.id)
    assert attempt.facts.pods[0].message == "termination \N{REPLACEMENT CHARACTER} log \\u0000"


async def test_an_overtaken_change_is_not_applied_and_not_acknowledged(pg: Postgres) -> None:
    first, second, untouched = await stored(pg, 3)
    await pg.queue.send([Outgoing(message=Check(job_id=job.id)) for job in (first, second, untouched)])
    held = await pg.queue.receive(limit=3, wait_seconds=0, visibility_seconds=60)
    receipts = {messages.decode(delivery.body).job_id: [delivery.receipt] for delivery in held}
    await pg.submit_store.request_cancel(second.id, by="", reason="")  # moves the version
    await pg.queue.ack([d.receipt for d in await pg.queue.receive(limit=1, wait_seconds=0, visibility_seconds=9)])
    changes = [make_change(job, State.STARTING, attempts=(make_attempt(job),)) for job in (first, second)]
    assert await pg.process_store.commit(changes, receipts=receipts) == {first.id}
    assert (await pg.process_store.load([second.id])).jobs[second.id].attempts == {}
    assert len(await pg.job_reader.list_transitions(second.id)) == 1
    await pg.queue.extend([delivery.receipt for delivery in held], visibility_seconds=0)
    left = await pg.queue.receive(limit=9, wait_seconds=0, visibility_seconds=9)
    # Acknowledged: the applied one, and the one that was handled without a change.
    assert [messages.decode(delivery.body).job_id for delivery in left] == [second.id]


async def test_a_commit_acknowledges_nothing_whose_lease_another_processor_has_now(pg: Postgres) -> None:
    """A processor was paused past its lease. Its commit may still fit; the message is the other one's to acknowledge."""
    (job,) = await stored(pg)
    await pg.queue.send([Outgoing(message=Check(job_id=job.id))])
    [paused] = await pg.queue.receive(limit=1, wait_seconds=0, visibility_seconds=0)
    [held] = await pg.queue.receive(limit=1, wait_seconds=0, visibility_seconds=60)
    change = make_change(job, State.STARTING)
    assert await pg.process_store.commit([change], receipts={job.id: [paused.receipt]}) == {job.id}
    await pg.queue.extend([held.receipt], visibility_seconds=0)
    [again] = await pg.queue.receive(limit=1, wait_seconds=0, visibility_seconds=60)
    assert again.deliveries == 3, "it is still there"
    assert await pg.process_store.commit([], receipts={job.id: [again.receipt]}) == set()
    assert await pg.queue.receive(limit=1, wait_seconds=0, visibility_seconds=0) == []


async def test_a_commit_never_touches_the_cancel_request(pg: Postgres) -> None:
    (job,) = await stored(pg)
    asked = await pg.submit_store.request_cancel(job.id, by="bob", reason="stop")
    assert asked is not None
    change = make_change(msgspec.structs.replace(asked, cancel=None), State.STOPPING)
    await pg.process_store.commit([change], receipts={})
    after = await pg.job_reader.get_job(job.id)
    assert after is not None
    assert after.cancel == asked.cancel


async def test_a_change_of_an_unknown_job_is_not_applied(pg: Postgres) -> None:
    assert await pg.process_store.commit([make_change(make_job(), State.FAILED)], receipts={}) == set()
    assert await pg.process_store.commit([], receipts={}) == set()


async def test_a_stale_receipt_does_not_stop_a_commit(pg: Postgres) -> None:
    (job,) = await stored(pg)
    receipts = {job.id: ["1:not-a-token", "nonsense"]}
    assert await pg.process_store.commit([make_change(job, State.STARTING)], receipts=receipts) == {job.id}


@pytest.mark.parametrize("end", [State.SUCCEEDED, State.FAILED, State.CANCELLED])
async def test_a_terminal_state_never_changes(pg: Postgres, end: State) -> None:
    """I4: even a program that is wrong about it is stopped, loudly, and the rest of its commit with it."""
    ended, other = await stored(pg, 2)
    ended = await finish(pg, ended, end)
    for state in State:
        if state != end:
            with pytest.raises(PermanentError, match="cannot become"):
                await pg.process_store.commit(
                    [make_change(other, State.STARTING), make_change(ended, state)], receipts={}
                )
    assert await pg.job_reader.get_job(ended.id) == ended
    assert await pg.job_reader.get_job(other.id) == other
    assert await pg.process_store.commit([make_change(ended, end)], receipts={}) == {ended.id}


async def test_an_unknown_state_is_refused(pg: Postgres, database_url: str) -> None:
    from asyncpg import CheckViolationError

    await stored(pg)
    with pytest.raises(CheckViolationError):
        await fetch(database_url, "UPDATE jobs SET state = 'paused'")


async def test_concurrent_commits_of_the_same_jobs_do_not_deadlock(pg: Postgres) -> None:
    """Each batch is shuffled: rows locked as they come would deadlock at once."""
    jobs = await stored(pg, 30)
    chance = random.Random(7)
    turned = {State.QUEUED: State.STARTING, State.STARTING: State.QUEUED}

    async def worker() -> int:
        won = 0
        for _ in range(8):
            ids = [job.id for job in jobs]
            chance.shuffle(ids)
            snapshot = await pg.process_store.load(ids)
            found = [snapshot.jobs[i].job for i in ids]
            changes = [make_change(job, turned[job.state], attempts=(make_attempt(job),)) for job in found]
            won += len(await pg.process_store.commit(changes, receipts={}))
        return won

    won = sum(await asyncio.gather(*(worker() for _ in range(4))))
    versions = await pg.job_reader.versions([job.id for job in jobs])
    assert won == sum(version - 1 for version in versions.values())
    assert won >= 30 * 8
    for job in jobs:
        history = await pg.job_reader.list_transitions(job.id)
        assert [step.version for step in history] == list(range(1, versions[job.id] + 1))


async def test_observed_and_cancelled_at_once_loses_neither(pg: Postgres) -> None:
    (job,) = await stored(pg)

    async def process() -> None:
        async def tried() -> bool:
            current = (await pg.process_store.load([job.id])).jobs[job.id].job
            return bool(await pg.process_store.commit([make_change(current, State.STARTING)], receipts={}))

        await until(tried, what="the commit applies")

    await asyncio.gather(process(), pg.submit_store.request_cancel(job.id, by="bob", reason=""))
    after = await pg.job_reader.get_job(job.id)
    assert after is not None
    assert after.state == State.STARTING
    assert after.cancel is not None
    assert after.version == 3


async def test_known_cluster_jobs_are_those_not_gone(pg: Postgres) -> None:
    (job,) = await stored(pg)
    attempts = (
        make_attempt(job, 1, cluster_uid="u1", gone_at=NOW),
        make_attempt(job, 2, cluster_uid="u2"),
        make_attempt(job, 3),
    )
    await pg.process_store.commit([make_change(job, State.RUNNING, number=3, attempts=attempts)], receipts={})
    assert await pg.observe_store.known_cluster_jobs() == [
        KnownClusterJob(
            job_id=job.id,
            attempt=2,
            namespace=job.namespace,
            cluster_uid="u2",
            cluster_name=attempts[1].cluster_name,
        )
    ]


async def test_known_pods_are_those_not_gone_of_cluster_jobs_not_gone(pg: Postgres) -> None:
    (job,) = await stored(pg)

    def facts(*pods: str, gone: bool = False) -> AttemptFacts:
        return AttemptFacts(pods=tuple(PodFacts(uid=uid, gone=gone) for uid in pods))

    attempts = (
        make_attempt(job, 1, cluster_uid="u1", gone_at=NOW, facts=facts("left")),
        make_attempt(job, 2, cluster_uid="u2", facts=facts("gone", gone=True)),
        make_attempt(job, 3, cluster_uid="u3", facts=facts("here")),
        make_attempt(job, 4, cluster_uid="u4"),
    )
    await pg.process_store.commit([make_change(job, State.RUNNING, number=4, attempts=attempts)], receipts={})
    assert await pg.observe_store.known_pods() == [
        KnownPod(job_id=job.id, attempt=3, namespace=job.namespace, uid="here")
    ]


async def test_an_empty_change_still_moves_the_version(pg: Postgres) -> None:
    (job,) = await stored(pg)
    change = Change(expected_version=1, job=msgspec.structs.replace(job, version=2))
    assert await pg.process_store.commit([change], receipts={}) == {job.id}
    assert await pg.job_reader.versions([job.id]) == {job.id: 2}


async def test_the_log_of_a_program_that_runs_again_is_collected_again(pg: Postgres, database_url: str) -> None:
    [job] = await stored(pg)
    ran = make_attempt(job, 1, started_at=NOW, pod_name="p")
    await pg.process_store.commit([make_change(job, State.RUNNING, attempts=(ran,))], receipts={})
    await fetch(database_url, "UPDATE attempt_logs SET status = 'stored', done_at = now()")
    job = (await pg.process_store.load([job.id])).jobs[job.id].job
    again = msgspec.structs.replace(ran, started_at=NOW + timedelta(seconds=9), logs="again")
    change = Change(
        expected_version=job.version, job=msgspec.structs.replace(job, version=job.version + 1), attempts=(again,)
    )
    await pg.process_store.commit([change], receipts={})
    [loaded] = (await pg.process_store.load([job.id])).jobs.values()
    assert loaded.attempts[1].logs == "following"
    [row] = await fetch(database_url, "SELECT status, done_at FROM attempt_logs")
    assert (row["status"], row["done_at"]) == ("following", None)
