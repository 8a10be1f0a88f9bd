"""Parked namespaces in the store: their jobs are passed over, one at a time is admitted as a probe, all others go on."""

from __future__ import annotations

import asyncio
from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest

from kube_job_runner.adapters.postgres import Postgres
from kube_job_runner.domain.decide import admission, parking
from kube_job_runner.domain.decide.parking import Trial
from kube_job_runner.domain.job import Job
from kube_job_runner.domain.limits import AdmissionLimits
from kube_job_runner.domain.states import State
from kube_job_runner.ports import Change, LoadedJob, Snapshot
from tests.support.postgres import age, execute, fetch, make_attempt, make_change, make_submission, store_jobs

pytestmark = pytest.mark.asyncio
NOW = datetime.now(UTC) - timedelta(minutes=10)
FULL = "exceeded quota: few, used: count/jobs.batch=1, limited: count/jobs.batch=1"


async def line(pg: Postgres, *columns: dict[str, Any]) -> list[Job]:
    """Store jobs, each a second after the one before unless its columns say otherwise."""
    made = [{"due_at": NOW + timedelta(seconds=n)} | fields for n, fields in enumerate(columns)]
    return await store_jobs(pg, *(make_submission(**fields) for fields in made))


async def admit(pg: Postgres, limit: int = 100, **limits: Any) -> Snapshot:
    return await pg.process_store.admit(AdmissionLimits(**limits), limit=limit, lease_seconds=60.0)


def names(snapshot: Snapshot) -> list[str]:
    return sorted(loaded.job.name for loaded in snapshot.jobs.values())


def back(loaded: LoadedJob) -> Change:
    """Return the change of a job that its namespace refused."""
    job = loaded.job
    waits = msgspec.structs.replace(job, admitted_at=None, version=job.version + 1)
    trial = Trial(
        namespace=job.namespace, outcome="refused", probe=loaded.probe, reason="QuotaExceeded", explanation=FULL
    )
    return Change(expected_version=job.version, job=waits, trial=trial)


def created(loaded: LoadedJob) -> Change:
    """Return the change of a job that was created."""
    trial = Trial(namespace=loaded.job.namespace, outcome="created", probe=True) if loaded.probe else None
    change = make_change(loaded.job, State.STARTING, attempts=(make_attempt(loaded.job),))
    return msgspec.structs.replace(change, trial=trial)


async def commit(pg: Postgres, *changes: Change) -> None:
    applied = await pg.process_store.commit(changes, receipts={})
    assert applied == {change.job.id for change in changes}


async def park(pg: Postgres, namespace: str) -> None:
    """Let the first job of a namespace be refused."""
    [loaded] = (await admit(pg, 1)).jobs.values()
    assert loaded.job.namespace == namespace
    await commit(pg, back(loaded))


async def rows(url: str) -> list[Any]:
    return await fetch(url, "SELECT * FROM parked_namespaces ORDER BY namespace")


async def test_a_refused_job_gives_its_slot_to_others_of_the_same_queue_and_keeps_its_place(
    pg: Postgres, database_url: str
) -> None:
    await line(
        pg, *({"name": f"a{n}", "namespace": "a"} for n in range(3)), {"name": "b0", "namespace": "b"}, {"name": "b1"}
    )
    await park(pg, "a")
    assert names(await admit(pg, total=2)) == ["b0", "b1"], (
        "work-conserving, though three jobs are ahead in their queue"
    )
    await age(database_url, "parked_namespaces", "probe_at", 180)
    assert names(await admit(pg, total=2)) == [], "a probe takes a slot as any other job"
    [loaded] = (await admit(pg, total=3)).jobs.values()
    assert (loaded.job.name, loaded.probe) == ("a0", True)
    assert loaded.spec is not None


async def test_one_probe_at_a_time_for_any_number_of_processors(pg: Postgres, database_url: str) -> None:
    await line(pg, *({"name": f"a{n}", "namespace": "a", "queue": f"q{n % 3}"} for n in range(30)))
    await park(pg, "a")
    for _ in range(3):
        await age(database_url, "parked_namespaces", "probe_at", -60)
        found = await asyncio.gather(*(admit(pg, 5) for _ in range(8)))
        assert not any(snapshot.jobs for snapshot in found), "its time has not come"
        await age(database_url, "parked_namespaces", "probe_at", 180)
        found = await asyncio.gather(*(admit(pg, 5) for _ in range(8)))
        [loaded] = [loaded for snapshot in found for loaded in snapshot.jobs.values()]
        assert (loaded.job.name, loaded.probe) == ("a0", True)
        await commit(pg, back(loaded))
    [row] = await rows(database_url)
    assert (row["tries"], row["allowance"], row["reason"], row["explanation"]) == (4, 1, "QuotaExceeded", FULL)


async def test_a_probe_that_is_never_heard_of_again_is_followed_by_another(pg: Postgres, database_url: str) -> None:
    await line(pg, *({"name": f"a{n}", "namespace": "a"} for n in range(3)))
    await park(pg, "a")
    await age(database_url, "parked_namespaces", "probe_at", 60)
    assert names(await admit(pg)) == ["a0"]
    assert names(await admit(pg)) == []
    await age(database_url, "parked_namespaces", "probe_at", 61)
    assert names(await admit(pg)) == ["a1"]


async def test_a_probe_that_is_created_opens_the_namespace_step_by_step_at_once(
    pg: Postgres, database_url: str
) -> None:
    await line(pg, *({"name": f"a{n:03}", "namespace": "a", "queue": f"q{n % 2}"} for n in range(200)))
    await park(pg, "a")
    await age(database_url, "parked_namespaces", "probe_at", 60)
    rounds = []
    while await rows(database_url):
        found = await admit(pg, 200)
        assert all(loaded.probe for loaded in found.jobs.values())
        rounds.append(len(found.jobs))
        await commit(pg, *(created(loaded) for loaded in found.jobs.values()))
    assert rounds == [1, 2, 4, 8, 16, 32, 64]
    rest = await admit(pg, 200)
    assert len(rest.jobs) == 200 - sum(rounds)
    assert not any(loaded.probe for loaded in rest.jobs.values())


async def test_order_and_limits_hold_around_a_parked_namespace(pg: Postgres, database_url: str) -> None:
    await line(
        pg,
        {"name": "parked", "namespace": "a", "priority": 100},
        {"name": "old", "namespace": "b"},
        {"name": "urgent", "namespace": "c", "priority": 5},
        {"name": "low", "namespace": "b", "priority": -5, "due_at": NOW - timedelta(hours=1)},
        {"name": "other", "namespace": "b", "queue": "etl", "priority": 4},
        {"name": "other-2", "namespace": "c", "queue": "etl", "priority": 3},
        {"name": "held", "namespace": "c", "queue": "held", "priority": 90},
        {"name": "later", "namespace": "c", "due_at": datetime.now(UTC) + timedelta(minutes=5), "priority": 90},
    )
    await park(pg, "a")
    await age(database_url, "parked_namespaces", "probe_at", -60)
    queues = {"etl": 1, "held": 0}
    order = [names(await admit(pg, 1, queues=queues)) for _ in range(5)]
    assert order == [["urgent"], ["other"], ["old"], ["low"], []]
    assert names(await admit(pg, total=4)) == []


async def test_eight_at_once_never_pass_a_limit_and_lose_no_job(pg: Postgres, database_url: str) -> None:
    """Namespaces fill, park and open while eight processors admit, create and end jobs."""
    limits = AdmissionLimits(total=10, queues={"etl": 3})
    quotas, used = {"a": 2, "b": 4}, Counter[str]()
    jobs = await line(pg, *({"queue": ("etl", "web")[n % 2], "namespace": "abc"[n % 3]} for n in range(90)))
    seen: Counter[Any] = Counter()
    highest: Counter[str] = Counter()

    async def one(loaded: LoadedJob) -> None:
        namespace = loaded.job.namespace
        if used[namespace] >= quotas.get(namespace, 99):
            await commit(pg, back(loaded))
            return
        used[namespace] += 1
        highest[namespace] = max(highest[namespace], used[namespace])
        seen[loaded.job.id] += 1
        running = created(loaded)
        await commit(pg, running)
        await asyncio.sleep(0)
        await commit(pg, make_change(running.job, State.SUCCEEDED))
        used[namespace] -= 1

    async def processor() -> None:
        while len(seen) < len(jobs):
            snapshot = await pg.process_store.admit(limits, limit=5, lease_seconds=60.0)
            where = "admitted_at IS NOT NULL AND state IN ('queued', 'starting')"
            [row] = await fetch(database_url, f"SELECT count(*) AS n FROM jobs WHERE {where}")
            highest[""] = max(highest[""], row["n"])
            await asyncio.gather(*(one(loaded) for loaded in snapshot.jobs.values()))
            await age(database_url, "parked_namespaces", "probe_at", 1)

    async with asyncio.timeout(90):
        await asyncio.gather(*(processor() for _ in range(8)))
    assert set(seen) == {job.id for job in jobs}
    assert set(seen.values()) == {1}
    assert highest[""] <= 10
    assert (highest["a"] <= 2, highest["b"] <= 4) == (True, True)


async def test_a_queue_without_room_does_not_get_the_last_slots_around_a_parked_namespace(
    pg: Postgres, database_url: str
) -> None:
    await line(pg, {"name": "parked", "namespace": "a", "priority": 100})
    await park(pg, "a")
    await age(database_url, "parked_namespaces", "probe_at", -60)
    await line(pg, *({"name": f"gpu{n}", "namespace": "bc"[n % 2], "queue": "gpu", "priority": 9} for n in range(9)))
    assert len((await admit(pg, 1, total=5)).jobs) == 1
    await execute(
        database_url, "UPDATE jobs SET state = 'starting', waiting_since = now() WHERE admitted_at IS NOT NULL"
    )
    assert len((await admit(pg, total=5)).jobs) == 3
    await line(pg, {"name": "cpu", "queue": "cpu"})
    assert names(await admit(pg, total=5)) == ["cpu"]


async def test_a_parked_namespace_that_no_job_waits_for_is_forgotten(pg: Postgres, database_url: str) -> None:
    [job] = await line(pg, {"namespace": "a"})
    await park(pg, "a")
    await age(database_url, "parked_namespaces", "probe_at", -60)
    await admit(pg)
    assert len(await rows(database_url)) == 1
    await pg.submit_store.request_cancel(job.id, by="ann", reason="")
    await age(database_url, "parked_namespaces", "probe_at", 180)
    await admit(pg)
    assert await rows(database_url) == []


async def test_a_namespace_that_refuses_pods_is_open_when_no_job_waits_there_for_its_pod(
    pg: Postgres, database_url: str
) -> None:
    await line(pg, *({"name": f"a{n}", "namespace": "a"} for n in range(4)), {"name": "b", "namespace": "b"})
    [loaded] = (await admit(pg, 1)).jobs.values()
    change = created(loaded)
    waits = msgspec.structs.replace(change.job, waiting_since=datetime.now(UTC))
    trial = Trial(namespace="a", outcome="refused", reason=parking.PODS_REFUSED, explanation="The quota is used up.")
    await commit(pg, msgspec.structs.replace(change, job=waits, trial=trial))
    assert names(await admit(pg)) == ["b"]
    assert names(await admit(pg)) == []
    await execute(database_url, "UPDATE jobs SET waiting_since = NULL")
    await admit(pg)
    assert names(await admit(pg)) == ["a1", "a2", "a3"]


async def test_a_waiting_job_says_why_its_namespace_takes_no_jobs(pg: Postgres) -> None:
    _, second, elsewhere = await line(pg, {"namespace": "a"}, {"namespace": "a"}, {"namespace": "b"})
    await park(pg, "a")
    standing = await pg.job_reader.queue_standing(second.id, AdmissionLimits())
    assert standing is not None
    assert standing.position == 2
    words = admission.words(standing)
    assert words.startswith(f"Waiting: 2nd in queue default; namespace a takes no jobs now: {FULL}. ")
    assert words.endswith("raises the quota.")
    loaded = (await pg.process_store.load([second.id, elsewhere.id])).jobs
    assert loaded[second.id].parked == parking.words("a", "QuotaExceeded", FULL)
    assert loaded[elsewhere.id].parked == ""


async def test_a_long_line_of_a_parked_namespace_is_not_read(pg: Postgres, database_url: str) -> None:
    await line(pg, {"namespace": "a"}, {"name": "b", "namespace": "b"})
    await park(pg, "a")
    await execute(
        database_url,
        """INSERT INTO jobs (id, state, version, attempt, priority, name, queue, namespace, owner, created_at, due_at)
           SELECT gen_random_uuid(), 'queued', 1, 0, 5, 'n', 'default', 'a', 'o', now(), now() - interval '1 hour'
           FROM generate_series(1, 20000)""",
        "VACUUM ANALYZE jobs",
        "UPDATE parked_namespaces SET probe_at = probe_at + interval '1 hour'",
    )
    before = (await fetch(database_url, READ))[0]["n"]
    assert names(await admit(pg)) == ["b"]
    assert names(await admit(pg)) == []
    after = (await fetch(database_url, READ))[0]["n"]
    assert after - before < 1000, "rows of the table and its indexes that were read"


READ = """SELECT pg_stat_force_next_flush(), pg_sleep(1.1),
          (SELECT seq_tup_read + coalesce(idx_tup_fetch, 0) FROM pg_stat_user_tables WHERE relname = 'jobs')
          + (SELECT sum(idx_tup_read) FROM pg_stat_user_indexes WHERE relname = 'jobs') AS n"""
