"""`SubmitStore`: one commit per submit, one job per key, and cancel requests."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta

import msgspec
import pytest

from kube_job_runner.adapters.postgres import Postgres
from kube_job_runner.domain import messages
from kube_job_runner.domain.errors import PermanentError
from kube_job_runner.domain.job import CancelRequest, Policy, Transition
from kube_job_runner.domain.messages import CONTROL_PRIORITY, CancelRequested, Check, Submitted
from kube_job_runner.domain.spec.model import Retry, Timeouts
from kube_job_runner.domain.states import State
from tests.support.postgres import execute, fetch, finish, make_job, make_submission, store_jobs

pytestmark = pytest.mark.asyncio


async def count(url: str) -> dict[str, int]:
    """Return the number of rows of the tables that a submit writes."""
    tables = ("jobs", "job_specs", "transitions", "messages", "idempotency_keys")
    return {table: (await fetch(url, f"SELECT count(*) FROM {table}"))[0][0] for table in tables}


async def test_a_submit_stores_job_spec_transition_and_message(pg: Postgres) -> None:
    submission = make_submission(
        labels={"team": "käse"},
        queue="night",
        priority=7,
        policy=Policy(timeouts=Timeouts(start_seconds=5), retry=Retry(attempts=3)),
    )
    (outcome,) = await pg.submit_store.insert_jobs([submission])
    assert (outcome.status, outcome.job_id, outcome.response) == ("created", submission.job.id, submission.response)
    assert await pg.job_reader.get_job(submission.job.id) == submission.job
    assert await pg.job_reader.get_spec(submission.job.id) == submission.spec
    assert await pg.job_reader.list_transitions(submission.job.id) == [
        Transition(job_id=submission.job.id, version=1, attempt=0, to_state=State.QUEUED, at=submission.job.created_at)
    ]
    (delivery,) = await pg.queue.receive(limit=5, wait_seconds=0, visibility_seconds=60)
    assert messages.decode(delivery.body) == Submitted(job_id=submission.job.id)


async def test_what_is_due_at_once_is_due_by_the_databases_clock(pg: Postgres, database_url: str) -> None:
    ahead = datetime.now(UTC) + timedelta(minutes=10)
    at_once = make_submission(created_at=ahead, due_at=ahead)
    later = make_submission(created_at=ahead, due_at=ahead + timedelta(seconds=1))
    await store_jobs(pg, at_once, later)
    rows = await fetch(database_url, "SELECT id, due_at <= clock_timestamp() AS due FROM jobs")
    assert {row["id"]: row["due"] for row in rows} == {at_once.job.id: True, later.job.id: False}


async def test_outcomes_come_in_the_order_of_the_submissions(pg: Postgres) -> None:
    earlier = make_submission(key="old")
    await pg.submit_store.insert_jobs([earlier])
    batch = [
        make_submission(key="b"),
        make_submission(),
        make_submission(key="old"),
        make_submission(key="old", body=b"another request"),
        make_submission(key="a"),
        make_submission(key="b"),
        make_submission(key="b", body=b"another request"),
    ]
    outcomes = await pg.submit_store.insert_jobs(batch)
    assert [outcome.status for outcome in outcomes] == [
        "created", "created", "replayed", "mismatch", "created", "replayed", "mismatch",
    ]  # fmt: skip
    assert outcomes[2].response == earlier.response
    assert outcomes[2].job_id == outcomes[3].job_id == earlier.job.id
    assert outcomes[3].response == b""
    assert outcomes[5].job_id == batch[0].job.id
    assert outcomes[5].response == batch[0].response
    stored = await pg.job_reader.versions([submission.job.id for submission in batch])
    assert set(stored) == {batch[0].job.id, batch[1].job.id, batch[4].job.id}


async def test_columns_that_are_alike_or_not_are_stored_right(pg: Postgres) -> None:
    """A column with one value in all rows travels as one value; each mixture must come back as it was."""
    alike = [make_submission(queue="q", priority=1, owner="bob", labels={"a": "1"}) for _ in range(3)]
    mixed = [
        make_submission(queue="q1", priority=1, namespace="n1", labels={}),
        make_submission(queue="q2", priority=2, namespace="n2", labels={"a": "2"}, owner="carol"),
        make_submission(queue="q1", priority=0, next_check_at=alike[0].job.created_at),
    ]
    for batch in (alike, mixed, alike[:0], mixed[::-1]):
        await pg.submit_store.insert_jobs(batch)
    for submission in [*alike, *mixed]:
        assert await pg.job_reader.get_job(submission.job.id) == submission.job


async def test_a_key_belongs_to_its_owner(pg: Postgres) -> None:
    outcomes = await pg.submit_store.insert_jobs(
        [make_submission(key="k", owner="alice"), make_submission(key="k", owner="bob")]
    )
    assert [outcome.status for outcome in outcomes] == ["created", "created"]


async def test_fifty_at_once_with_one_key_make_one_job(pg: Postgres, database_url: str) -> None:
    """I2, with calls that hold several keys in opposite orders, which would deadlock if they locked as they come."""
    rounds = [[make_submission(key="one"), make_submission(key=f"k{n % 3}")][:: 1 if n % 2 else -1] for n in range(50)]
    outcomes = [o for answer in await asyncio.gather(*map(pg.submit_store.insert_jobs, rounds)) for o in answer]
    assert sum(outcome.status == "created" for outcome in outcomes) == 4
    assert {outcome.status for outcome in outcomes} == {"created", "replayed"}
    counts = await count(database_url)
    assert 1 <= counts.pop("messages") <= 4, "one for each call that stored something"
    assert counts == {"jobs": 4, "job_specs": 4, "transitions": 4, "idempotency_keys": 4}


async def test_a_call_whose_answer_was_lost_may_be_made_again(pg: Postgres, database_url: str) -> None:
    """F67: the commit took place, the connection died before the answer."""
    batch = [make_submission(), make_submission(key="k")]
    await pg.submit_store.insert_jobs(batch)
    again = await pg.submit_store.insert_jobs(batch)
    assert [outcome.job_id for outcome in again] == [submission.job.id for submission in batch]
    assert again[1].response == batch[1].response
    assert {outcome.status for outcome in again} <= {"created", "replayed"}
    assert (await count(database_url))["messages"] == 1, "one for the call that stored them"
    assert len(await pg.job_reader.list_transitions(batch[0].job.id)) == 1


async def test_a_refused_batch_stores_nothing(pg: Postgres, database_url: str) -> None:
    bad = msgspec.structs.replace(make_submission(key="k2"), job=make_job(name="nul \0 in a name"))
    with pytest.raises(PermanentError):
        await pg.submit_store.insert_jobs([make_submission(key="k1"), bad])
    assert set((await count(database_url)).values()) == {0}


async def test_a_cancel_request_is_recorded_once_with_its_message(pg: Postgres) -> None:
    (job,) = await store_jobs(pg, make_submission())
    await pg.queue.ack([d.receipt for d in await pg.queue.receive(limit=9, wait_seconds=0, visibility_seconds=9)])
    asked = await pg.submit_store.request_cancel(job.id, by="bob", reason="no longer \0 needed")
    assert asked is not None
    assert asked.version == job.version + 1
    assert asked.state == State.QUEUED
    assert asked.cancel is not None
    assert (asked.cancel.by, asked.cancel.reason) == ("bob", "no longer \N{REPLACEMENT CHARACTER} needed")
    assert await pg.submit_store.request_cancel(job.id, by="eve", reason="other") == asked
    assert await pg.job_reader.get_job(job.id) == asked
    found = await pg.queue.receive(limit=9, wait_seconds=0, visibility_seconds=9)
    assert [messages.decode(delivery.body) for delivery in found] == [CancelRequested(job_id=job.id)]


async def test_a_cancel_request_makes_its_job_due(pg: Postgres, database_url: str) -> None:
    """So the request survives the loss of its message, however far away the next look at the job was."""
    for wait in (None, timedelta(hours=24)):
        (job,) = await store_jobs(pg, make_submission(next_check_at=wait and datetime.now(UTC) + wait))
        assert await pg.sweep_store.send_due_checks(limit=9, rearm_seconds=3600) == 0
        for grace_seconds in (None, 0):
            asked = await pg.submit_store.request_cancel(job.id, by="", reason="", grace_seconds=grace_seconds)
            assert asked is not None
            assert asked.next_check_at is not None
            await execute(database_url, "DELETE FROM messages")  # dead-lettered, expired in SQS, or purged by a person
            assert await pg.sweep_store.send_due_checks(limit=9, rearm_seconds=3600) == 1
        [check] = await pg.queue.receive(limit=9, wait_seconds=0, visibility_seconds=9)
        assert messages.decode(check.body) == Check(job_id=job.id)
        await execute(database_url, "DELETE FROM messages")


async def test_a_cancel_request_goes_before_new_work(pg: Postgres) -> None:
    (job,) = await store_jobs(pg, make_submission(priority=100))
    await pg.submit_store.request_cancel(job.id, by="", reason="")
    (first,) = await pg.queue.receive(limit=1, wait_seconds=0, visibility_seconds=9)
    assert messages.decode(first.body) == CancelRequested(job_id=job.id)
    assert CONTROL_PRIORITY > 100


async def test_a_job_that_has_ended_takes_no_cancel_request(pg: Postgres) -> None:
    (job,) = await store_jobs(pg, make_submission())
    ended = await finish(pg, job)
    answer = await pg.submit_store.request_cancel(job.id, by="bob", reason="late")
    assert answer is not None
    assert (answer.state, answer.version, answer.cancel) == (State.SUCCEEDED, ended.version, None)


async def test_an_unknown_job_cannot_be_cancelled(pg: Postgres) -> None:
    assert await pg.submit_store.request_cancel(make_job().id, by="bob", reason="") is None


async def test_cancels_at_once_agree(pg: Postgres) -> None:
    (job,) = await store_jobs(pg, make_submission())
    answers = await asyncio.gather(*(pg.submit_store.request_cancel(job.id, by=f"u{n}", reason="") for n in range(10)))
    cancels: set[CancelRequest | None] = {answer.cancel for answer in answers if answer is not None}
    assert len(cancels) == 1
    assert (await pg.job_reader.versions([job.id]))[job.id] == 2
