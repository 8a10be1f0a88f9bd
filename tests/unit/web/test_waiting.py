"""The change hub and the long poll, in virtual time."""

from __future__ import annotations

import asyncio
from uuid import UUID

import httpx2
import pytest

from kube_job_runner.domain.errors import DatabaseUnavailable
from kube_job_runner.domain.states import State
from kube_job_runner.services.change_hub import ChangeHub
from tests.unit.web.conftest import World

pytestmark = [pytest.mark.asyncio, pytest.mark.looptime]


async def submitted(client: httpx2.AsyncClient) -> UUID:
    response = await client.post("/v1/jobs", json={"image": "busybox"})
    return UUID(response.json()["id"])


def now() -> float:
    return asyncio.get_running_loop().time()


async def waiting(world: World, count: int = 1) -> None:
    for _ in range(100):
        if world.app._hub.waiting >= count:
            return
        await asyncio.sleep(0)
    raise AssertionError("nobody waits")


async def test_a_change_known_by_hint_is_answered_after_the_debounce(world: World, client: httpx2.AsyncClient) -> None:
    job_id = await submitted(client)
    started = now()
    poll = asyncio.create_task(client.get(f"/v1/jobs/{job_id}?wait=30s&since=1"))
    await waiting(world)
    await asyncio.sleep(0.2)
    world.store.change(job_id, state=State.STARTING)
    world.wakeup.hint()
    response = await poll
    assert (response.json()["state"], response.json()["version"]) == ("starting", 2)
    assert response.headers["etag"] == '"2"'
    assert now() - started == pytest.approx(0.22, abs=0.01)


async def test_a_lost_hint_costs_at_most_a_second(world: World, client: httpx2.AsyncClient) -> None:
    job_id = await submitted(client)
    started = now()
    poll = asyncio.create_task(client.get(f"/v1/jobs/{job_id}?wait=30&since=1"))
    await waiting(world)
    await asyncio.sleep(0.2)
    world.store.change(job_id, state=State.STARTING)
    assert (await poll).json()["version"] == 2
    assert now() - started <= 1.1


async def test_an_older_version_is_answered_at_once(world: World, client: httpx2.AsyncClient) -> None:
    job_id = await submitted(client)
    started = now()
    assert (await client.get(f"/v1/jobs/{job_id}?wait=30s&since=0")).json()["version"] == 1
    assert (await client.get(f"/v1/jobs/{job_id}?wait=30s")).json()["version"] == 1
    assert now() == started


@pytest.mark.parametrize(("wait", "seconds"), [("2s", 2), ("500ms", 0.5), ("1m", 60), ("5m", 60), ("3", 3), ("0", 0)])
async def test_when_the_time_is_over_the_present_state_is_the_answer(
    wait: str, seconds: float, client: httpx2.AsyncClient
) -> None:
    job_id = await submitted(client)
    started = now()
    response = await client.get(f"/v1/jobs/{job_id}?wait={wait}&since=1")
    assert (response.status_code, response.json()["version"]) == (200, 1)
    assert now() - started == pytest.approx(seconds, abs=0.01)


async def test_if_none_match(world: World, client: httpx2.AsyncClient) -> None:
    job_id = await submitted(client)
    for tag in ('"1"', 'W/"1"', '"7", "1"', "*"):
        response = await client.get(f"/v1/jobs/{job_id}", headers={"If-None-Match": tag})
        assert (response.status_code, response.content, response.headers["etag"]) == (304, b"", '"1"')
    assert (await client.get(f"/v1/jobs/{job_id}", headers={"If-None-Match": '"2"'})).status_code == 200


async def test_a_thousand_polls_cost_one_query_each_second(world: World, client: httpx2.AsyncClient) -> None:
    ids = [await submitted(client) for _ in range(10)]
    hub = ChangeHub(world.store.versions, world.wakeup, world.clock)
    polls = [asyncio.create_task(hub.wait_newer(ids[i % 10], than=1, timeout_seconds=30)) for i in range(1000)]
    await asyncio.sleep(10.5)
    assert world.store.version_queries <= 12
    world.store.change(ids[3], state=State.RUNNING)
    world.wakeup.hint()
    await asyncio.sleep(0.1)
    assert sum(poll.done() for poll in polls) == 100
    await hub.close()
    assert await asyncio.gather(*polls) == [index % 10 == 3 for index in range(1000)]
    assert hub.waiting == 0


async def test_the_hub_survives_a_lost_database_and_rests_when_nobody_waits(
    world: World, client: httpx2.AsyncClient
) -> None:
    job_id = await submitted(client)
    hub = ChangeHub(world.store.versions, world.wakeup, world.clock)
    world.store.failure = DatabaseUnavailable()
    poll = asyncio.create_task(hub.wait_newer(job_id, than=1, timeout_seconds=30))
    await asyncio.sleep(5)
    assert not poll.done()
    world.store.failure = None
    world.store.change(job_id, state=State.RUNNING)
    assert await poll
    await asyncio.sleep(2)
    queries = world.store.version_queries
    await asyncio.sleep(20)
    assert world.store.version_queries == queries


async def test_a_cancelled_waiter_is_removed(world: World, client: httpx2.AsyncClient) -> None:
    job_id = await submitted(client)
    hub = ChangeHub(world.store.versions, world.wakeup, world.clock)
    poll = asyncio.create_task(hub.wait_newer(job_id, than=1, timeout_seconds=30))
    await asyncio.sleep(0)
    assert hub.waiting == 1
    poll.cancel()
    await asyncio.gather(poll, return_exceptions=True)
    assert hub.waiting == 0
    await hub.close()


async def test_draining_ends_a_long_poll_with_the_present_state(world: World, client: httpx2.AsyncClient) -> None:
    job_id = await submitted(client)
    started = now()
    poll = asyncio.create_task(client.get(f"/v1/jobs/{job_id}?wait=60s&since=1"))
    await waiting(world)
    await world.app.drain()
    response = await poll
    assert (response.status_code, response.json()["version"]) == (200, 1)
    assert response.headers["connection"] == "close"
    assert now() - started < 1
