"""`GET /v1/jobs`: filters and pages."""

from __future__ import annotations

from datetime import UTC, datetime

import httpx2
import pytest

from kube_job_runner.domain.states import State
from tests.unit.web.conftest import World, submit

pytestmark = pytest.mark.asyncio


async def test_jobs_run_in_the_allowed_namespaces_and_are_listed_by_them() -> None:
    world = World(namespaces=("first", "second"))
    async with world.client() as client:
        ids = {name: str(await submit(client, **({"namespace": name} if name else {}))) for name in ("", "second")}
        for name, id_ in (("first", ids[""]), ("second", ids["second"])):
            page = (await client.get(f"/v1/jobs?namespace={name}")).json()["jobs"]
            assert [(job["id"], job["namespace"]) for job in page] == [(id_, name)]
        refused = await client.post("/v1/jobs", json={"image": "a", "namespace": "third"})
    assert refused.status_code == 422
    (error,) = refused.json()["errors"]
    assert error["pointer"] == "/namespace"
    assert error["detail"] == "'third' is not allowed here; allowed: first, second"


async def test_pages_follow_the_cursor_to_the_end(world: World, client: httpx2.AsyncClient) -> None:
    ids = []
    for number in range(7):
        world.clock.time = datetime(2026, 1, 15, 9, 30, number, tzinfo=UTC)
        ids.append(str(await submit(client, queue="q", labels={"n": str(number % 2)})))
    path, seen = "/v1/jobs?limit=3&queue=q&state=queued,running&created_after=2026-01-01T00:00:00Z", []
    for size in (3, 3, 1):
        response = await client.get(path)
        page = response.json()
        seen += [job["id"] for job in page["jobs"]]
        assert len(page["jobs"]) == size
        if page["next_cursor"] is None:
            assert "link" not in response.headers
            break
        path = response.links["next"]["url"]
        assert f"cursor={page['next_cursor']}" in path
    assert seen == ids[::-1]
    labelled = (await client.get("/v1/jobs", params={"labels": "n in (1),n"})).json()["jobs"]
    assert [job["id"] for job in labelled] == [ids[5], ids[3], ids[1]]


async def test_jobs_are_listed_by_their_reason(world: World, client: httpx2.AsyncClient) -> None:
    first, second, third = [await submit(client) for _ in range(3)]
    world.store.change(first, state=State.FAILED, reason="OutOfMemory")
    world.store.change(second, state=State.FAILED, reason="ImageNotFound")
    world.store.change(third, state=State.QUEUED, reason="OutOfMemory")

    async def ids(query: str) -> list[str]:
        response = await client.get("/v1/jobs?" + query)
        assert response.status_code == 200, response.text
        return [job["id"] for job in response.json()["jobs"]]

    for name in ("OutOfMemory", "out_of_memory", "out-of-memory"):
        assert await ids(f"reason={name}") == [str(first)]
    assert await ids("reason=OutOfMemory&state=queued") == [str(third)]
    assert await ids("reason=NoSuchThing") == []
