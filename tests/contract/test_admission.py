"""`ProcessStore.admit` and `JobReader.queue_standing`: exact limits (I11), the order of admission, and the place in the queue."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import Any

import asyncpg
import msgspec
import pytest

from kube_job_runner.adapters import postgres
from kube_job_runner.adapters.postgres import Postgres
from kube_job_runner.adapters.postgres.stores import process_store
from kube_job_runner.adapters.postgres.stores.process_store import SQL
from kube_job_runner.domain.decide import admission
from kube_job_runner.domain.job import Job
from kube_job_runner.domain.limits import AdmissionLimits
from kube_job_runner.domain.states import State
from kube_job_runner.ports import Change, LoadedJob
from tests.support.postgres import (
    SPEC,
    component_urls,
    execute,
    fetch,
    finish,
    make_attempt,
    make_change,
    make_submission,
    store_jobs,
    until,
)

pytestmark = pytest.mark.asyncio
NOW = datetime.now(UTC) - timedelta(minutes=10)
MS = timedelta(milliseconds=1)
IN_FLIGHT = "admitted_at IS NOT NULL AND state IN ('queued', 'starting', 'running', 'stopping')"


async def line(pg: Postgres, *columns: dict[str, Any]) -> list[Job]:
    """Store jobs, each a second after the one before unless its columns say otherwise."""
    made = [{"due_at": NOW + timedelta(seconds=n)} | fields for n, fields in enumerate(columns)]
    return await store_jobs(pg, *(make_submission(**fields) for fields in made))


async def admit(pg: Postgres, limit: int = 100, **limits: Any) -> list[str]:
    """Admit, and return the names of the jobs in the order of their ids."""
    snapshot = await pg.process_store.admit(AdmissionLimits(**limits), limit=limit, lease_seconds=60.0)
    return sorted(loaded.job.name for loaded in snapshot.jobs.values())


async def current(pg: Postgres, job: Job) -> Job:
    found = await pg.job_reader.get_job(job.id)
    assert found is not None
    return found


async def test_an_admitted_job_comes_with_all_that_its_create_needs(pg: Postgres, database_url: str) -> None:
    [job] = await line(pg, {})
    snapshot = await pg.process_store.admit(AdmissionLimits(), limit=10, lease_seconds=60.0)
    [loaded] = snapshot.jobs.values()
    assert loaded == LoadedJob(job=await current(pg, job), attempts={}, spec=SPEC)
    assert loaded.job.version == 2
    assert loaded.job.admitted_at is not None
    assert abs(loaded.job.admitted_at - snapshot.now) < timedelta(seconds=5)
    assert loaded.job.next_check_at is not None
    assert abs(loaded.job.next_check_at - snapshot.now - timedelta(seconds=60)) < timedelta(seconds=5)
    assert loaded.job.create_until is not None
    assert abs(loaded.job.create_until - snapshot.now - timedelta(seconds=60)) < timedelta(seconds=5)
    again = await pg.process_store.admit(AdmissionLimits(), limit=10, lease_seconds=60.0)
    assert again.jobs == {}
    assert again.now >= snapshot.now, "the clock is told even when nothing is admitted"


async def test_the_order_is_priority_then_time_then_id(pg: Postgres) -> None:
    await line(
        pg,
        {"name": "old"},
        {"name": "urgent", "priority": 5},
        {"name": "low", "priority": -5, "due_at": NOW - timedelta(hours=1)},
        {"name": "other-queue", "queue": "etl", "priority": 4},
        {"name": "new"},
    )
    order = [(await admit(pg, 1))[0] for _ in range(5)]
    assert order == ["urgent", "other-queue", "old", "new", "low"]


async def test_of_jobs_due_at_once_the_first_submitted_goes_first(pg: Postgres) -> None:
    jobs = await line(pg, *({"name": f"n{n}", "due_at": NOW, "created_at": NOW + timedelta(n)} for n in range(4)))
    expected = [job.name for job in sorted(jobs, key=lambda job: job.id)]
    assert [(await admit(pg, 1))[0] for _ in range(4)] == expected


async def test_the_limit_of_the_installation_is_never_passed(pg: Postgres) -> None:
    jobs = await line(pg, *({"name": f"n{n}", "queue": f"q{n % 3}"} for n in range(9)))
    assert len(await admit(pg, total=4)) == 4
    assert await admit(pg, total=4) == []
    assert await admit(pg, total=2) == [], "a limit that was lowered below what runs"
    await finish(pg, await current(pg, jobs[0]))
    assert await admit(pg, total=4) == ["n4"]


@pytest.mark.parametrize("state", [State.STARTING, State.RUNNING, State.STOPPING])
async def test_every_state_in_the_cluster_takes_a_place(pg: Postgres, state: State) -> None:
    first, _ = await line(pg, {}, {})
    assert len(await admit(pg, total=1)) == 1
    await pg.process_store.commit([make_change(await current(pg, first), state)], receipts={})
    assert await admit(pg, total=1) == []


async def test_queues_have_limits_of_their_own_and_a_default(pg: Postgres) -> None:
    await line(
        pg, *({"name": f"{queue}{n}", "queue": queue} for n in range(5) for queue in ("etl", "gpu", "held", "web"))
    )
    limits: dict[str, Any] = {"per_queue": 3, "queues": {"etl": 1, "held": 0, "unknown": 7}}
    assert await admit(pg, **limits) == ["etl0", "gpu0", "gpu1", "gpu2", "web0", "web1", "web2"]
    assert await admit(pg, **limits) == []


async def test_a_full_queue_holds_up_no_other(pg: Postgres) -> None:
    await line(
        pg, *({"name": f"full{n}", "queue": "full", "priority": 100} for n in range(50)), {"name": "x", "queue": "a"}
    )
    assert await admit(pg, queues={"full": 1}, total=10) == ["full0", "x"]


async def test_a_job_that_is_not_due_or_is_cancelled_is_passed_over(pg: Postgres) -> None:
    soon = datetime.now(UTC) + timedelta(minutes=5)
    jobs = await line(
        pg, {"name": "later", "due_at": soon, "priority": 9}, {"name": "cancelled", "priority": 9}, {"name": "due"}
    )
    await pg.submit_store.request_cancel(jobs[1].id, by="", reason="")
    assert await admit(pg) == ["due"]


async def test_a_job_that_goes_back_to_the_queue_gives_up_its_place_and_comes_again_with_its_attempts(
    pg: Postgres,
) -> None:
    first, _ = await line(pg, {"name": "first"}, {"name": "second"})
    assert await admit(pg, total=1) == ["first"]
    attempt = make_attempt(first, gone_at=NOW)
    back = make_change(await current(pg, first), State.RUNNING, attempts=(attempt,))
    assert await pg.process_store.commit([back], receipts={}) == {first.id}
    waits = make_change(back.job, State.QUEUED)
    waits = msgspec.structs.replace(waits, job=msgspec.structs.replace(waits.job, admitted_at=None))
    assert await pg.process_store.commit([waits], receipts={}) == {first.id}
    snapshot = await pg.process_store.admit(AdmissionLimits(total=1), limit=10, lease_seconds=60.0)
    assert snapshot.jobs[first.id].attempts == {1: attempt}
    assert snapshot.jobs[first.id].spec == SPEC


async def test_eight_at_once_never_pass_a_limit_and_lose_no_job(pg: Postgres, database_url: str) -> None:
    """I11. Admitters and ends race; after every admission the rows are counted from outside."""
    queues = {"etl": 3, "gpu": 2}
    limits = AdmissionLimits(total=10, per_queue=6, queues=queues)
    jobs = await line(pg, *({"queue": ("etl", "gpu", "web", "x")[n % 4], "priority": n % 3} for n in range(160)))
    seen: Counter[Any] = Counter()
    highest: Counter[str] = Counter()

    async def admitter(seed: int) -> None:
        chance = random.Random(seed)
        while len(seen) < len(jobs):
            snapshot = await pg.process_store.admit(limits, limit=chance.randint(1, 7), lease_seconds=60.0)
            seen.update(list(snapshot.jobs))
            rows = await fetch(database_url, f"SELECT queue, count(*) AS n FROM jobs WHERE {IN_FLIGHT} GROUP BY queue")
            now = {row["queue"]: row["n"] for row in rows} | {"": sum(row["n"] for row in rows)}
            for name, count in now.items():
                highest[name] = max(highest[name], count)
            ends = [_end(loaded.job, chance) for loaded in snapshot.jobs.values()]
            chance.shuffle(ends)
            for change in ends:
                assert await pg.process_store.commit([change], receipts={}) == {change.job.id}

    async with asyncio.timeout(60):
        await asyncio.gather(*(admitter(seed) for seed in range(8)))
    assert set(seen) == {job.id for job in jobs}
    assert set(seen.values()) == {1}, "no job is admitted twice"
    assert highest["etl"] <= 3
    assert highest["gpu"] <= 2
    assert max(highest["web"], highest["x"]) <= 6
    assert highest[""] <= 10


def _end(job: Job, chance: random.Random) -> Change:
    return make_change(job, chance.choice([State.SUCCEEDED, State.FAILED, State.CANCELLED]))


async def test_a_cancel_and_an_admission_at_once_lose_neither(pg: Postgres) -> None:
    jobs = await line(pg, *({"name": f"n{n}"} for n in range(30)))
    ends = [pg.submit_store.request_cancel(job.id, by="ann", reason="") for job in jobs]
    admitting = pg.process_store.admit(AdmissionLimits(), limit=30, lease_seconds=60.0)
    admitted, _ = await asyncio.gather(admitting, asyncio.gather(*ends))
    for job in jobs:
        after = await current(pg, job)
        assert after.cancel is not None
        assert after.version == 2 + (job.id in admitted.jobs)


async def test_an_admission_waits_for_the_one_that_is_not_committed_yet(pg: Postgres, database_url: str) -> None:
    """I11. Its rows are not seen before its commit, so two at once would both take the last place."""
    await line(pg, {"name": "first"}, {"name": "second"})
    limits = AdmissionLimits(total=1)
    other = await asyncpg.connect(database_url)
    try:
        async with other.transaction():
            await other.execute(SQL["lock_admissions"])
            await other.execute("UPDATE jobs SET admitted_at = now() WHERE name = 'first'")
            admitting = asyncio.create_task(pg.process_store.admit(limits, limit=10, lease_seconds=60.0))
            await _until_blocked(database_url, or_done=admitting)
        assert (await admitting).jobs == {}
    finally:
        await other.close()


async def test_a_cancel_that_is_committed_while_an_admission_reads_is_seen_by_it(
    empty_database_url: str,
) -> None:
    """The cancel ends the job at once, because it was never admitted; an admission must not create it after that.

    A policy of the table holds the admission up in the middle of its statement, after its snapshot was taken.
    """
    url = (await component_urls(empty_database_url))["messages-processor"]
    owner = await asyncpg.connect(empty_database_url)
    web, processor = await postgres.connect(empty_database_url), await postgres.connect(url)
    try:
        await owner.execute(
            "CREATE FUNCTION gate() RETURNS boolean LANGUAGE plpgsql VOLATILE AS"
            " $$ BEGIN PERFORM pg_advisory_xact_lock_shared(4711); RETURN true; END $$"
        )
        await owner.execute("ALTER TABLE jobs ENABLE ROW LEVEL SECURITY")
        await owner.execute("CREATE POLICY gated ON jobs USING (gate()) WITH CHECK (true)")
        cancelled, other = await line(web, {"name": "cancelled"}, {"name": "other"})
        await owner.execute("SELECT pg_advisory_lock(4711)")
        admitting = asyncio.create_task(processor.process_store.admit(AdmissionLimits(), limit=10, lease_seconds=60.0))
        await _until_blocked(empty_database_url, or_done=admitting)
        await web.submit_store.request_cancel(cancelled.id, by="", reason="")
        await owner.execute("SELECT pg_advisory_unlock(4711)")
        assert list((await admitting).jobs) == [other.id]
    finally:
        await owner.close()
        await web.close()
        await processor.close()


async def _until_blocked(url: str, *, or_done: asyncio.Task[Any]) -> None:
    """Wait until a session waits for an advisory lock, or the task that should has ended."""

    async def blocked() -> bool | None:
        waits = "SELECT 1 FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"
        return True if or_done.done() or await fetch(url, waits) else None

    await until(blocked, what="an admission waits")


# --- Standing -----------------------------------------------------------------------------------------------------------


async def test_the_place_in_line_counts_who_goes_first_in_the_same_queue(pg: Postgres) -> None:
    jobs = await line(
        pg,
        {"queue": "etl", "name": "runs"},
        {"queue": "etl", "name": "ahead"},
        {"queue": "etl", "name": "me"},
        {"queue": "etl", "name": "behind"},
        {"queue": "etl", "name": "urgent", "priority": 9},
        {"queue": "etl", "name": "low", "priority": -9},
        {"queue": "web", "name": "elsewhere"},
        {"queue": "etl", "name": "backs-off", "priority": 9, "due_at": datetime.now(UTC) + timedelta(minutes=5)},
        {"queue": "etl", "name": "cancelled", "priority": 9},
    )
    by_name = {job.name: job for job in jobs}
    await pg.submit_store.request_cancel(by_name["cancelled"].id, by="", reason="")
    await admit(pg, 1, queues={"etl": 1})
    limits = AdmissionLimits(total=7, queues={"etl": 1})
    standing = await pg.job_reader.queue_standing(by_name["me"].id, limits)
    assert standing is not None
    assert (standing.queue, standing.position, standing.position_is_exact) == ("etl", 3, True), "urgent runs now"
    assert (standing.queue_in_flight, standing.queue_limit) == (1, 1)
    assert (standing.total_in_flight, standing.total_limit) == (1, 7)
    low = await pg.job_reader.queue_standing(by_name["low"].id, limits)
    assert low is not None
    assert low.position == 5
    elsewhere = await pg.job_reader.queue_standing(by_name["elsewhere"].id, limits)
    assert elsewhere is not None
    assert (elsewhere.position, elsewhere.queue_in_flight, elsewhere.queue_limit) == (1, 0, None)


async def test_who_does_not_wait_has_no_place_in_line(pg: Postgres) -> None:
    admitted, cancelled, later = await line(pg, {}, {}, {"due_at": datetime.now(UTC) + timedelta(minutes=5)})
    await admit(pg, 1)
    await pg.submit_store.request_cancel(cancelled.id, by="", reason="")
    for job in (admitted, cancelled, later, msgspec.structs.replace(later, id=make_submission().job.id)):
        assert await pg.job_reader.queue_standing(job.id, AdmissionLimits()) is None


async def test_a_far_place_is_counted_up_to_a_bound(pg: Postgres, database_url: str) -> None:
    [last] = await line(pg, {"due_at": NOW})
    await fetch(
        database_url,
        """INSERT INTO jobs (id, state, version, attempt, priority, name, queue, namespace, owner, created_at, due_at)
           SELECT gen_random_uuid(), 'queued', 1, 0, n % 2, 'n', 'default', 'd', 'o', now(), $1::timestamptz - interval '1 hour'
           FROM generate_series(1, 12000) AS n""",
        NOW,
    )
    standing = await pg.job_reader.queue_standing(last.id, AdmissionLimits())
    assert standing is not None
    assert (standing.position, standing.position_is_exact) == (10_001, False)


# --- Room in the cluster ------------------------------------------------------------------------------------------------


async def without_room(pg: Postgres, url: str, name: str) -> None:
    """Let the cluster job of an admitted job wait for room."""
    await execute(url, f"UPDATE jobs SET state = 'starting', waiting_since = now() WHERE name = '{name}'")


async def test_a_queue_without_room_in_the_cluster_does_not_get_the_last_slots(pg: Postgres, database_url: str) -> None:
    await line(pg, *({"name": f"gpu{n:02}", "queue": "gpu", "priority": 9} for n in range(20)))
    assert len(await admit(pg, 4, total=10)) == 4
    await without_room(pg, database_url, "gpu00")
    assert await admit(pg, total=10) == ["gpu04", "gpu05", "gpu06", "gpu07"]
    assert await admit(pg, total=10) == []
    await line(pg, *({"name": f"cpu{n}", "queue": "cpu"} for n in range(5)))
    assert await admit(pg, total=10) == ["cpu0", "cpu1"]
    await fetch(database_url, "UPDATE jobs SET waiting_since = NULL")
    assert await admit(pg, total=11) == ["gpu08"]


async def test_all_queues_without_room_share_what_is_not_kept(pg: Postgres, database_url: str) -> None:
    await line(pg, *({"name": f"{queue}{n}", "queue": queue} for queue in ("x", "y") for n in range(9)))
    assert await admit(pg, 1, total=10, queues={"y": 0}) == ["x0"]
    assert await admit(pg, 1, total=10, queues={"x": 0}) == ["y0"]
    for name in ("x0", "y0"):
        await without_room(pg, database_url, name)
    assert len(await admit(pg, total=10)) == 6


async def test_a_job_behind_jobs_without_room_says_so(pg: Postgres, database_url: str) -> None:
    *_, last = await line(pg, {"name": "a"}, {"name": "b"})
    await admit(pg, 1, total=2)
    await without_room(pg, database_url, "a")
    assert await admit(pg, total=2) == []
    standing = await pg.job_reader.queue_standing(last.id, AdmissionLimits(total=2))
    assert standing is not None
    assert admission.words(standing) == (
        "Waiting: next in queue default; jobs of the queue find no room in the cluster (1 now), so the last slots (1) are kept"
        " for other queues."
    )


async def test_the_order_holds_across_many_queues(pg: Postgres) -> None:
    """The most urgent job and then the oldest, wherever it waits."""
    jobs = [
        {"name": f"n{n}", "queue": f"q{(n * 7919) % 3001}", "priority": n % 2, "due_at": NOW + n * MS}
        for n in range(3000)
    ]
    await line(pg, *jobs)
    expected = [f"n{n}" for n in range(3000) if n % 2][:40]
    assert await admit(pg, 40) == sorted(expected)


async def test_queues_behind_a_long_full_one_are_all_reached(pg: Postgres, monkeypatch: pytest.MonkeyPatch) -> None:
    """The front of the line belongs to a queue without room, and not all other queues are visited at once."""
    monkeypatch.setattr(process_store, "VISITED_QUEUES", 7)
    full = [{"name": f"full{n}", "queue": "full", "priority": 9, "due_at": NOW + n * MS} for n in range(1300)]
    await line(pg, *full, *({"name": f"n{n:02}", "queue": f"q{n:02}", "due_at": NOW} for n in range(30)))
    found: list[str] = []
    for _ in range(8):
        found += await admit(pg, queues={"full": 0}, total=100)
    assert sorted(found) == [f"n{n:02}" for n in range(30)]
