"""`GET /v1/jobs/{id}`: a job, its place in the queue, and the long poll in virtual time."""

from __future__ import annotations

import asyncio

import httpx2
import pytest

from kube_job_runner.domain.decide.admission import QueueStanding
from kube_job_runner.domain.states import State
from tests.unit.web.conftest import World, submit

pytestmark = [pytest.mark.asyncio, pytest.mark.looptime]


def now() -> float:
    return asyncio.get_running_loop().time()


async def waiting(world: World, count: int = 1) -> None:
    for _ in range(100):
        if world.app._hub.waiting >= count:
            return
        await asyncio.sleep(0)
    raise AssertionError("nobody waits")


async def test_a_waiting_job_tells_its_place_and_an_admitted_one_does_not(
    world: World, client: httpx2.AsyncClient
) -> None:
    job_id = await submit(client, queue="etl")
    world.store.change(job_id, explanation="Container main exited with code 3.")
    world.store.standings[job_id] = QueueStanding(
        queue="etl", ahead=3, queue_in_flight=10, queue_limit=10, total_in_flight=40, total_limit=500
    )
    shown = (await client.get(f"/v1/jobs/{job_id}")).json()
    assert (shown["queue_position"], shown["admitted_at"]) == (4, None)
    assert shown["explanation"] == (
        "Container main exited with code 3. Waiting: 4th in queue etl; the queue runs 10 of 10."
    )
    listed = (await client.get("/v1/jobs")).json()["jobs"][0]
    assert (listed["queue_position"], listed["explanation"]) == (None, "Container main exited with code 3.")
    world.store.change(job_id, admitted_at=world.clock.now())
    shown = (await client.get(f"/v1/jobs/{job_id}")).json()
    assert (shown["queue_position"], shown["admitted_at"]) == (None, "2026-01-15T09:30:00Z")


async def test_a_change_known_by_hint_is_answered_after_the_debounce(world: World, client: httpx2.AsyncClient) -> None:
    job_id = await submit(client)
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
    job_id = await submit(client)
    started = now()
    poll = asyncio.create_task(client.get(f"/v1/jobs/{job_id}?wait=30&since=1"))
    await waiting(world)
    await asyncio.sleep(0.2)
    world.store.change(job_id, state=State.STARTING)
    assert (await poll).json()["version"] == 2
    assert now() - started <= 1.1


async def test_an_older_version_is_answered_at_once(world: World, client: httpx2.AsyncClient) -> None:
    job_id = await submit(client)
    started = now()
    assert (await client.get(f"/v1/jobs/{job_id}?wait=30s&since=0")).json()["version"] == 1
    assert (await client.get(f"/v1/jobs/{job_id}?wait=30s")).json()["version"] == 1
    assert now() == started


@pytest.mark.parametrize(("wait", "seconds"), [("2s", 2), ("500ms", 0.5), ("1m", 60), ("5m", 60), ("3", 3), ("0", 0)])
async def test_when_the_time_is_over_the_present_state_is_the_answer(
    wait: str, seconds: float, client: httpx2.AsyncClient
) -> None:
    job_id = await submit(client)
    started = now()
    response = await client.get(f"/v1/jobs/{job_id}?wait={wait}&since=1")
    assert (response.status_code, response.json()["version"]) == (200, 1)
    assert now() - started == pytest.approx(seconds, abs=0.01)


async def test_if_none_match(world: World, client: httpx2.AsyncClient) -> None:
    job_id = await submit(client)
    for tag in ('"1"', 'W/"1"', '"7", "1"', "*"):
        response = await client.get(f"/v1/jobs/{job_id}", headers={"If-None-Match": tag})
        assert (response.status_code, response.content, response.headers["etag"]) == (304, b"", '"1"')
    assert (await client.get(f"/v1/jobs/{job_id}", headers={"If-None-Match": '"2"'})).status_code == 200


async def test_draining_ends_a_long_poll_with_the_present_state(world: World, client: httpx2.AsyncClient) -> None:
    job_id = await submit(client)
    started = now()
    poll = asyncio.create_task(client.get(f"/v1/jobs/{job_id}?wait=60s&since=1"))
    await waiting(world)
    await world.app.drain()
    response = await poll
    assert (response.status_code, response.json()["version"]) == (200, 1)
    assert response.headers["connection"] == "close"
    assert now() - started < 1
