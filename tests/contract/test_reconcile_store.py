"""`ReconcileStore`: one identity per database, the cluster jobs that should exist, and claims."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime

import pytest

from kube_job_runner.adapters.postgres import Postgres
from kube_job_runner.domain import names
from kube_job_runner.domain.errors import ConfigurationError
from kube_job_runner.domain.facts import AttemptFacts, PodFacts
from kube_job_runner.domain.states import State
from kube_job_runner.ports import Claim, RecordedClusterJob
from tests.support.postgres import execute, finish, make_attempt, make_change, make_submission, store_jobs

pytestmark = pytest.mark.asyncio
NOW = datetime.now(UTC).replace(microsecond=0)


async def test_an_installation_has_one_id_for_ever(pg: Postgres, database_url: str) -> None:
    first = await pg.reconcile_store.installation_id()
    assert str(uuid.UUID(first)) == first
    assert await pg.reconcile_store.installation_id() == first
    with pytest.raises(Exception, match="duplicate key"):
        await execute(database_url, "INSERT INTO installation DEFAULT VALUES")


async def test_an_installation_without_an_id_says_how_to_make_one(pg: Postgres, database_url: str) -> None:
    await execute(database_url, "DELETE FROM installation")
    with pytest.raises(ConfigurationError, match="INSERT INTO installation"):
        await pg.reconcile_store.installation_id()


async def test_cluster_jobs_that_should_exist_come_in_pages(pg: Postgres) -> None:
    jobs = sorted(await store_jobs(pg, *(make_submission() for _ in range(5))), key=lambda job: job.id)
    pods = (PodFacts(uid="p-1", gone=True), PodFacts(uid="p-2"))
    for job in jobs[:4]:
        attempts = [
            make_attempt(job, 1, cluster_uid=f"{job.id}-1", facts=AttemptFacts(pods=pods)),
            make_attempt(job, 2, cluster_uid=f"{job.id}-2"),
        ]
        await pg.process_store.commit(
            [make_change(job, State.RUNNING, number=2, attempts=tuple(attempts))], receipts={}
        )
    gone, never_made = make_attempt(jobs[4], 1, cluster_uid="u", gone_at=NOW), make_attempt(jobs[4], 2)
    await finish(pg, jobs[4], attempts=(gone, never_made))
    found: list[RecordedClusterJob] = []
    after: tuple[uuid.UUID, int] | None = None
    while page := await pg.reconcile_store.recorded_cluster_jobs(after=after, limit=3):
        assert len(page) <= 3
        found += page
        after = (page[-1].job_id, page[-1].attempt)
    wanted = [(job.id, number, f"{job.id}-{number}") for job in jobs[:4] for number in (1, 2)]
    assert [(row.job_id, row.attempt, row.cluster_uid) for row in found] == wanted
    assert [row.pod_uids for row in found] == [("p-2",), ()] * 4
    first = make_attempt(jobs[0], 1)
    assert (found[0].namespace, found[0].cluster_name) == (first.namespace, first.cluster_name)


async def test_what_the_rows_say_of_attempts(pg: Postgres) -> None:
    live, ended, queued = await store_jobs(pg, *(make_submission() for _ in range(3)))
    running = make_attempt(live, 1, cluster_uid="u-1")
    await pg.process_store.commit([make_change(live, State.RUNNING, attempts=(running,))], receipts={})
    await finish(pg, ended, attempts=(make_attempt(ended, 1, cluster_uid="u-2", gone_at=NOW),))
    keys = [(live.id, 1), (live.id, 2), (ended.id, 1), (queued.id, 1), (names.new_job_id(NOW), 1)]
    claims = await pg.reconcile_store.claims(keys)
    assert claims == {
        (live.id, 1): Claim(job_ended=False, job_attempt=1, cluster_uid="u-1"),
        (live.id, 2): Claim(job_ended=False, job_attempt=1),
        (ended.id, 1): Claim(job_ended=True, job_attempt=1, cluster_uid="u-2", gone=True),
        (queued.id, 1): Claim(job_ended=False, job_attempt=0),
    }
    assert await pg.reconcile_store.claims([]) == {}
