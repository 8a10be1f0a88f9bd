"""`JobReader`: single jobs, and lists with every filter."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest

from kube_job_runner.adapters.postgres import Postgres
from kube_job_runner.domain.job import Anomaly, Job
from kube_job_runner.domain.states import State
from kube_job_runner.ports import JobFilter
from tests.support.postgres import finish, make_change, make_job, make_submission, store_jobs

pytestmark = pytest.mark.asyncio
START = datetime(2026, 3, 1, tzinfo=UTC)


async def listed(pg: Postgres, **filters: Any) -> list[str]:
    """Return the names of the jobs of a list, newest first."""
    return [job.name for job in await pg.job_reader.list_jobs(JobFilter(**filters))]


async def some_jobs(pg: Postgres) -> list[Job]:
    """Store ten jobs, an hour apart: odd ones in queue `odd`; label `n` is the number modulo 3; job-9 has no label."""
    submissions = [
        make_submission(
            name=f"job-{n}",
            queue="odd" if n % 2 else "even",
            owner="bob" if n < 5 else "alice",
            labels={} if n == 9 else {"n": str(n % 3), "team": 'it\'s \\ "quoted"'},
            created_at=START + timedelta(hours=n),
        )
        for n in range(10)
    ]
    return await store_jobs(pg, *submissions)


async def test_what_is_not_there_is_none_or_empty(pg: Postgres) -> None:
    unknown = make_job().id
    assert await pg.job_reader.get_job(unknown) is None
    assert await pg.job_reader.get_spec(unknown) is None
    assert await pg.job_reader.list_attempts(unknown) == []
    assert await pg.job_reader.list_transitions(unknown) == []
    assert await pg.job_reader.versions([unknown]) == {}
    assert await pg.job_reader.versions([]) == {}
    assert await pg.job_reader.list_jobs(JobFilter()) == []


async def test_the_newest_come_first(pg: Postgres) -> None:
    await some_jobs(pg)
    assert await listed(pg) == [f"job-{n}" for n in range(9, -1, -1)]


async def test_pages_join_without_gap_or_double(pg: Postgres) -> None:
    jobs = await some_jobs(pg)
    seen: list[Job] = []
    while page := await pg.job_reader.list_jobs(JobFilter(limit=3, before_id=seen[-1].id if seen else None)):
        assert len(page) <= 3
        seen += page
    assert seen == jobs[::-1]


@pytest.mark.parametrize(
    ("filters", "numbers"),
    [
        ({"queue": "odd"}, [9, 7, 5, 3, 1]),
        ({"name": "job-4"}, [4]),
        ({"name": "job-4' OR true --"}, []),
        ({"owner": "bob"}, [4, 3, 2, 1, 0]),
        ({"queue": "odd", "owner": "bob", "limit": 1}, [3]),
        ({"created_after": START + timedelta(hours=7)}, [9, 8]),
        ({"created_before": START + timedelta(hours=2)}, [1, 0]),
        ({"created_after": START, "created_before": START + timedelta(hours=3)}, [2, 1]),
        ({"created_after": datetime.min.replace(tzinfo=UTC), "limit": 2}, [9, 8]),
        ({"created_before": datetime.max.replace(tzinfo=UTC), "limit": 2}, [9, 8]),
        ({"labels": (("n", "in", ("0",)),)}, [6, 3, 0]),
        ({"labels": (("n", "in", ("0", "2")),)}, [8, 6, 5, 3, 2, 0]),
        ({"labels": (("n", "in", ()),)}, []),
        ({"labels": (("n", "notin", ("0", "2")),)}, [9, 7, 4, 1]),
        ({"labels": (("n", "notin", ()),), "limit": 2}, [9, 8]),
        ({"labels": (("team", "exists", ()),), "limit": 3}, [8, 7, 6]),
        ({"labels": (("team", "!exists", ()),)}, [9]),
        ({"labels": (("team", "in", ('it\'s \\ "quoted"',)), ("n", "in", ("1",)))}, [7, 4, 1]),
        ({"labels": (("%", "exists", ()),)}, []),
        ({"states": (State.QUEUED,), "limit": 2}, [9, 8]),
        ({"states": (State.RUNNING, State.FAILED)}, []),
    ],
    ids=str,
)
async def test_filters(pg: Postgres, filters: dict[str, Any], numbers: list[int]) -> None:
    await some_jobs(pg)
    assert await listed(pg, **filters) == [f"job-{n}" for n in numbers]


async def test_states_are_merged_newest_first_and_paged(pg: Postgres) -> None:
    jobs = await some_jobs(pg)
    for number, state in ((1, State.SUCCEEDED), (2, State.FAILED), (5, State.SUCCEEDED), (7, State.CANCELLED)):
        await finish(pg, jobs[number], state)
    await pg.process_store.commit([make_change(jobs[3], State.RUNNING)], receipts={})
    states = (State.SUCCEEDED, State.FAILED, State.RUNNING, State.SUCCEEDED)
    assert await listed(pg, states=states) == ["job-5", "job-3", "job-2", "job-1"]
    assert await listed(pg, states=states, limit=2, before_id=jobs[5].id) == ["job-3", "job-2"]
    assert await listed(pg, states=states, queue="odd") == ["job-5", "job-3", "job-1"]
    assert await listed(pg, states=(State.SUCCEEDED,)) == ["job-5", "job-1"]


async def test_jobs_of_a_namespace(pg: Postgres) -> None:
    await store_jobs(pg, *(make_submission(name=f"in-{name}", namespace=name) for name in ("a", "b")))
    assert await listed(pg, namespace="b") == ["in-b"]
    assert await listed(pg, namespace="b", states=(State.QUEUED, State.RUNNING)) == ["in-b"]
    assert await listed(pg, namespace="b", queue="odd") == []
    assert await listed(pg, namespace="c") == []


async def test_an_unknown_label_operator_is_a_bug(pg: Postgres) -> None:
    with pytest.raises(ValueError, match="operator"):
        await pg.job_reader.list_jobs(JobFilter(labels=(("n", "~", ("0",)),)))


async def test_versions_of_many(pg: Postgres) -> None:
    jobs = await some_jobs(pg)
    await finish(pg, jobs[0], State.FAILED)
    versions = await pg.job_reader.versions([job.id for job in jobs])
    assert versions == {job.id: 2 if job is jobs[0] else 1 for job in jobs}


async def test_failed_jobs_are_found_by_their_reason(pg: Postgres) -> None:
    jobs = await some_jobs(pg)
    for number, state, reason in (
        (1, State.FAILED, "OutOfMemory"),
        (4, State.FAILED, "ImageNotFound"),
        (6, State.FAILED, "OutOfMemory"),
        (8, State.CANCELLED, "OutOfMemory"),
    ):
        await finish(pg, jobs[number], state, reason=reason)
    assert await listed(pg, reason="OutOfMemory") == ["job-6", "job-1"]
    assert await listed(pg, reason="OutOfMemory", before_id=jobs[6].id) == ["job-1"]
    assert await listed(pg, reason="OutOfMemory", states=(State.CANCELLED,)) == ["job-8"]
    assert await listed(pg, reason="OutOfMemory", states=(State.CANCELLED, State.FAILED), queue="even") == [
        "job-8",
        "job-6",
    ]
    assert await listed(pg, reason="x' OR true --") == []


async def test_reruns_are_found_by_the_job_they_run_again(pg: Postgres) -> None:
    (first,) = await store_jobs(pg, make_submission(name="first"))
    again = [make_submission(name=f"again-{n}", rerun_of=first.id) for n in range(2)]
    await store_jobs(pg, make_submission(name="other"), *again)
    assert sorted(await listed(pg, rerun_of=first.id)) == ["again-0", "again-1"]
    found = await pg.job_reader.get_job(again[0].job.id)
    assert found is not None
    assert found.rerun_of == first.id


async def test_anomalies_are_told_oldest_first(pg: Postgres) -> None:
    (job,) = await store_jobs(pg, make_submission(name="odd"))
    assert await pg.job_reader.list_anomalies(job.id) == []
    seen = [
        Anomaly(job_id=job.id, attempt=1, kind=kind, detail=f"about {kind}", at=START + timedelta(seconds=at))
        for kind, at in (("second", 2), ("first", 1))
    ]
    change = msgspec.structs.replace(make_change(job, State.FAILED), anomalies=tuple(seen))
    assert await pg.process_store.commit([change], receipts={}) == {job.id}
    assert await pg.job_reader.list_anomalies(job.id) == seen[::-1]
