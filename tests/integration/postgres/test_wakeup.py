"""Hints: after each commit, after a lost connection, and between two waits."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from kube_job_runner.adapters import postgres
from kube_job_runner.adapters.postgres.wakeup import PostgresWakeup
from kube_job_runner.domain.messages import Check, Outgoing
from kube_job_runner.domain.states import State
from tests.support.postgres import execute, make_change, make_job, make_submission, store_jobs, until

pytestmark = pytest.mark.asyncio
LONG_SECONDS = 30.0


@pytest_asyncio.fixture
async def wakeup(pg: postgres.Postgres) -> AsyncIterator[PostgresWakeup]:
    """Hints that are listened for already, the first of each topic (made on connecting) behind us."""
    async with asyncio.timeout(LONG_SECONDS):
        await pg.wakeup.listening.wait()
    yield pg.wakeup


async def caught_up(wakeup: PostgresWakeup) -> None:
    """Let this task have seen all hints up to now."""
    for topic in ("messages", "jobs"):
        while await wakeup.wait(topic, timeout_seconds=0.05):
            pass


async def test_a_submit_hints_at_messages(pg: postgres.Postgres, wakeup: PostgresWakeup) -> None:
    await caught_up(wakeup)
    await pg.submit_store.insert_jobs([make_submission()])
    assert await wakeup.wait("messages", timeout_seconds=LONG_SECONDS)
    await pg.submit_store.insert_jobs([make_submission(key="k")])
    assert await wakeup.wait("messages", timeout_seconds=LONG_SECONDS)


async def test_a_commit_hints_at_jobs_and_at_messages_that_are_due(
    pg: postgres.Postgres, wakeup: PostgresWakeup
) -> None:
    (job,) = await store_jobs(pg, make_submission())
    await caught_up(wakeup)
    later = Outgoing(message=Check(job_id=job.id), delay_seconds=60)
    change = make_change(job, State.STARTING, messages=(later,))
    await pg.process_store.commit([change], receipts={})
    assert await wakeup.wait("jobs", timeout_seconds=LONG_SECONDS)
    assert not await wakeup.wait("messages", timeout_seconds=0.05)
    now = Outgoing(message=Check(job_id=job.id))
    await pg.process_store.commit([make_change(change.job, State.RUNNING, messages=(now, later))], receipts={})
    assert await wakeup.wait("messages", timeout_seconds=LONG_SECONDS)


async def test_a_cancel_request_hints_at_both(pg: postgres.Postgres, wakeup: PostgresWakeup) -> None:
    (job,) = await store_jobs(pg, make_submission())
    await caught_up(wakeup)
    await pg.submit_store.request_cancel(job.id, by="", reason="")
    assert await wakeup.wait("jobs", timeout_seconds=LONG_SECONDS)
    assert await wakeup.wait("messages", timeout_seconds=LONG_SECONDS)


async def test_nothing_changed_is_no_hint(pg: postgres.Postgres, wakeup: PostgresWakeup) -> None:
    await caught_up(wakeup)
    await pg.process_store.commit([make_change(make_job(), State.FAILED)], receipts={})
    await pg.sweep_store.send_due_checks(limit=5, rearm_seconds=5)
    assert not await wakeup.wait("jobs", timeout_seconds=0.05)
    assert not await wakeup.wait("messages", timeout_seconds=0.05)


async def test_a_hint_between_two_waits_is_not_lost(database_url: str, wakeup: PostgresWakeup) -> None:
    await caught_up(wakeup)
    other = asyncio.create_task(wakeup.wait("jobs", timeout_seconds=LONG_SECONDS))
    await asyncio.sleep(0)
    await execute(database_url, "NOTIFY kjr_jobs")
    assert await other  # so the hint has come, while this task did not wait
    assert await wakeup.wait("jobs", timeout_seconds=LONG_SECONDS)
    assert not await wakeup.wait("jobs", timeout_seconds=0.0)


async def test_all_who_wait_are_woken(database_url: str, wakeup: PostgresWakeup) -> None:
    await caught_up(wakeup)
    waiting = [asyncio.create_task(wakeup.wait("jobs", timeout_seconds=LONG_SECONDS)) for _ in range(50)]
    await asyncio.sleep(0)
    await execute(database_url, "NOTIFY kjr_jobs")
    assert all(await asyncio.gather(*waiting))


async def test_a_lost_connection_is_made_anew_and_the_gap_is_a_hint(database_url: str, wakeup: PostgresWakeup) -> None:
    """F22."""
    await caught_up(wakeup)
    await execute(
        database_url,
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
        "WHERE datname = current_database() AND application_name = 'kube-job-runner wakeup'",
    )
    assert await wakeup.wait("messages", timeout_seconds=LONG_SECONDS)  # what came in the gap could have been missed
    await caught_up(wakeup)

    async def heard() -> bool:
        await execute(database_url, "NOTIFY kjr_messages")
        return await wakeup.wait("messages", timeout_seconds=0.2)

    await until(heard, what="hints come again")


async def test_without_a_server_waiting_just_takes_its_time(tmp_path: object) -> None:
    wakeup = PostgresWakeup(f"postgresql://kjr@/postgres?host={tmp_path}")
    wakeup.start()
    assert not await wakeup.wait("jobs", timeout_seconds=0.3)
    await wakeup.close()


async def test_closing_twice_or_before_the_start_is_harmless(database_url: str) -> None:
    wakeup = PostgresWakeup(database_url)
    await wakeup.close()
    wakeup.start()
    await wakeup.close()
    await wakeup.close()
