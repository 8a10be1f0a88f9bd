"""The whole product under the roles: each component connects as its own role, from submit to retention."""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
import uuid
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from kube_job_runner.adapters import postgres
from kube_job_runner.adapters.postgres import Postgres, roles
from kube_job_runner.adapters.postgres.grants import ROLES
from kube_job_runner.adapters.postgres.leader_leases import PostgresLeases
from kube_job_runner.adapters.simulated import SimulatedCluster
from kube_job_runner.adapters.simulated.script import Script
from kube_job_runner.domain import messages
from kube_job_runner.domain.decide.ruleset import Rules
from kube_job_runner.domain.errors import DatabaseUnavailable
from kube_job_runner.domain.limits import AdmissionLimits
from kube_job_runner.domain.states import State
from kube_job_runner.ports import JobFilter
from kube_job_runner.services.log_reading import LogUnavailable
from kube_job_runner.services.reconcile import Reconciler
from kube_job_runner.settings.groups import SweepSettings
from tests.support.clocks import SystemClock
from tests.support.postgres import component_urls, execute, fetch, make_submission, with_user
from tests.support.rig import Rig

pytestmark = pytest.mark.asyncio


@pytest_asyncio.fixture
async def apart(database_url: str) -> AsyncIterator[dict[str, Postgres]]:
    """For each component a way to the database as its role."""
    urls = await component_urls(database_url)
    opened = {name: await postgres.connect(url, pool_size=4, poll_seconds=0.05) for name, url in urls.items()}
    yield opened
    await asyncio.gather(*(pg.close() for pg in opened.values()))


@contextlib.asynccontextmanager
async def running(pg: Postgres, apart: dict[str, Postgres], script: Script) -> AsyncIterator[Rig]:
    """The whole product but HTTP, on a simulated cluster."""
    cluster = SimulatedCluster(clock=SystemClock(), script_for=lambda _: script, keep_history=False)
    cluster.start()
    try:
        rules = Rules(cleanup_delay_seconds=0)
        async with Rig(pg, cluster, rules=rules, apart=apart, follow_after_seconds=0.0).running() as rig:
            yield rig
    finally:
        await cluster.close()


async def test_from_submit_to_the_end_and_the_log(pg: Postgres, apart: dict[str, Postgres]) -> None:
    async with running(pg, apart, Script(log=b"hello\n")) as rig:
        ids = await rig.submit(5)
        for job_id in ids:
            await rig.until_state(job_id, State.SUCCEEDED)
            await rig.until_logged(job_id)
            assert await rig.read(job_id, follow=True) == b"hello\n"
        compared = Reconciler(
            store=apart["sweeper"].reconcile_store,
            cluster=rig.cluster,
            queue=apart["sweeper"].queue,
            clock=rig.clock,
            settings=SweepSettings(),
        )
        assert (await compared.run_once()).foreign == 0
        web = apart["web-server"].job_reader
        job = await web.get_job(ids[0])
        assert job is not None
        assert await web.get_spec(ids[0]) is not None
        assert len(await web.list_transitions(ids[0])) >= 3
        assert len(await web.list_jobs(JobFilter(states=(State.SUCCEEDED,), limit=9))) == 5
        assert await web.list_anomalies(ids[0]) == []


async def test_a_cancel_a_failure_and_a_retry(pg: Postgres, apart: dict[str, Postgres]) -> None:
    async with running(pg, apart, Script(run_seconds=None, log=b"on\n")) as rig:
        [job_id] = await rig.submit()
        await rig.until_state(job_id, State.RUNNING)
        web = apart["web-server"].submit_store
        assert await web.request_cancel(job_id, by="me", reason="enough", grace_seconds=0) is not None
        assert (await rig.until_state(job_id)).state is State.CANCELLED
        assert await rig.read(job_id) == b"on\n"
    async with running(pg, apart, Script(exit_code=3)) as rig:
        [job_id] = await rig.submit()
        assert (await rig.until_state(job_id)).exit_code == 3


async def test_what_the_flow_does_not_reach(pg: Postgres, apart: dict[str, Postgres], database_url: str) -> None:
    """Keys, tokens, health, dead letters, the queue of an admission: the statements of each component that are rare."""
    web, working = apart["web-server"], apart["messages-processor"]
    first = make_submission(key="k")
    assert [one.status for one in await web.submit_store.insert_jobs([first])] == ["created"]
    again = make_submission(key="k", body=b"request")
    assert [one.status for one in await web.submit_store.insert_jobs([again])] == ["replayed"]
    assert await web.token_store.find_token(b"x") is None
    assert (
        await web.job_reader.queue_standing(first.job.id, AdmissionLimits(total=1, per_queue=None, queues={}))
        is not None
    )
    await execute(database_url, "ANALYZE jobs")
    assert (await apart["sweeper"].health.depth()).messages == 1
    [delivery] = await working.queue.receive(limit=1, wait_seconds=0, visibility_seconds=60)
    await working.queue.extend([delivery.receipt], visibility_seconds=60)
    await working.queue.dead_letter([delivery], error="why")
    assert await apart["pod-events-processor"].observe_store.known_cluster_jobs() == []
    await apart["pod-events-processor"].queue.send(
        [messages.Outgoing(message=messages.Check(job_id=first.job.id), delay_seconds=9)]
    )
    for pg_of in apart.values():
        assert await pg_of.health.check() == {"database": None, "schema": None}


@pytest.mark.parametrize("component", ["job-status-processor", "pod-events-processor", "sweeper"])
async def test_who_leads_writes_its_lease_and_under_its_fence(apart: dict[str, Postgres], component: str) -> None:
    leases, second = apart[component].leases, PostgresLeases(apart[component].url)
    fence = await leases.acquire(component, holder="one", lease_seconds=60)
    assert fence is not None
    await leases.renew(fence, lease_seconds=60)
    assert await second.acquire(component, holder="two", lease_seconds=60) is None
    await apart[component].fenced(fence).queue.send([messages.Outgoing(message=messages.Check(job_id=uuid.uuid4()))])
    await leases.release(fence)
    assert await second.acquire(component, holder="two", lease_seconds=60) is not None
    await second.close()


async def test_retention_under_the_sweepers_role(pg: Postgres, apart: dict[str, Postgres], database_url: str) -> None:
    async with running(pg, apart, Script(log=b"hello\n")) as rig:
        [job_id] = await rig.submit()
        await rig.until_logged(job_id)

        async def gone() -> bool:
            return (await rig.attempt(job_id)).gone_at is not None

        await rig.until(gone, what="the cluster job is removed")
        await pg.submit_store.insert_jobs([make_submission(key="k")])
        store, logs = apart["sweeper"].sweep_store, apart["sweeper"].logs
        expired = await logs.expire_logs(older_than_seconds=0, limit=10)
        assert (expired.logs, expired.chunks) == (1, 1)
        with pytest.raises(LogUnavailable, match=f"removed by retention on {dt.datetime.now(dt.UTC):%Y}"):
            await rig.read(job_id)
        assert (await store.delete_old_transitions(older_than_seconds=0, limit=10)).deleted >= 3
        assert await store.expire_idempotency_keys(older_than_seconds=0, limit=10) == 0, "its job still waits"
        await execute(database_url, "UPDATE jobs SET finished_at = now() WHERE finished_at IS NULL")
        assert await store.expire_idempotency_keys(older_than_seconds=0, limit=10) == 1
        assert await logs.delete_old_logs(older_than_seconds=0, limit=10) == 0
        assert await store.delete_old_jobs(older_than_seconds=0, limit=10) == 1
        assert await store.delete_old_dead_letters(older_than_seconds=0, limit=10) == 0
        assert await store.vacuum_behind() is None
        assert store._partitions_at > 0, "the partitions were maintained by a role that owns none of them"


async def test_a_role_that_lacks_something_is_named_with_the_remedy(
    pg: Postgres, apart: dict[str, Postgres], database_url: str
) -> None:
    for component, pg_of in apart.items():
        assert await pg_of.lacking_rights([component], role_prefix="kjr_") is None
    every = [component for component in ROLES if component != "outbox-relay"]
    assert await pg.lacking_rights(every, role_prefix="kjr_") is None, "the owner may do all"
    await execute(database_url, "REVOKE SELECT (exit_code), INSERT ON transitions FROM kjr_messages_processor")
    await execute(database_url, "REVOKE UPDATE (state, reason) ON jobs FROM kjr_messages_processor")
    await execute(database_url, "REVOKE EXECUTE ON FUNCTION maintain_transition_partitions FROM kjr_sweeper")
    assert await apart["messages-processor"].lacking_rights(["messages-processor"], role_prefix="kjr_") == (
        "the database role test_kjr_messages_processor lacks UPDATE (state) on jobs, UPDATE (reason) on jobs, "
        "INSERT on transitions: run `kjr migrate --roles` as the owner of the tables, then GRANT kjr_messages_processor TO "
        "test_kjr_messages_processor"
    )
    lacking = await apart["sweeper"].lacking_rights(["sweeper"], role_prefix="kjr_")
    assert lacking is not None
    assert "lacks EXECUTE on maintain_transition_partitions(integer)" in lacking
    many = await apart["job-status-processor"].lacking_rights(["web-server"], role_prefix="kjr_")
    assert many is not None
    assert " and " in many
    with pytest.raises(
        DatabaseUnavailable, match="role test_kjr_job_status_processor lacks a right: permission denied"
    ):
        await apart["job-status-processor"].job_reader.get_spec(uuid.uuid4())


async def test_a_stranger_is_told_of_the_schema(database_url: str) -> None:
    await roles.grant(database_url, prefix="kjr_")
    await execute(database_url, "CREATE ROLE stranger LOGIN", "REVOKE USAGE ON SCHEMA public FROM PUBLIC")
    opened: Any = await postgres.connect(with_user(database_url, "stranger"), pool_size=1)
    try:
        lacking = await opened.lacking_rights(["sweeper"], role_prefix="kjr_")
        assert lacking.startswith("the database role stranger lacks USAGE on the schema of the tables")
        assert lacking.endswith("GRANT kjr_sweeper TO stranger")
        assert not await postgres.may_migrate(opened.url)
        assert await postgres.may_migrate(database_url)
    finally:
        await opened.close()
        await execute(database_url, "DROP ROLE stranger")


async def test_the_outbox_relay_may_empty_the_outbox(apart: dict[str, Postgres]) -> None:
    await apart["web-server"].submit_store.insert_jobs([make_submission()])
    relay = apart["outbox-relay"].queue
    [delivery] = await relay.receive(limit=1, wait_seconds=0, visibility_seconds=60)
    await relay.ack([delivery.receipt])
    assert await relay.receive(limit=1, wait_seconds=0, visibility_seconds=60) == []
    with pytest.raises(DatabaseUnavailable, match="test_kjr_outbox_relay lacks a right"):
        await apart["outbox-relay"].token_store.list_tokens()


async def test_rights_are_asked_for_without_a_schema(empty_database_url: str) -> None:
    """Before the first migration nothing is lacking: the schema's check says what to wait for."""
    opened = await postgres.connect(empty_database_url, pool_size=1)
    try:
        assert await opened.lacking_rights(list(ROLES), role_prefix="kjr_") is None
        assert (await fetch(empty_database_url, "SELECT to_regclass('jobs') AS jobs"))[0]["jobs"] is None
    finally:
        await opened.close()
