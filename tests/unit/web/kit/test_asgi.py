"""Every request: its headers, its id, its errors."""

from __future__ import annotations

import httpx2
import pytest

import kube_job_runner
from tests.unit.web.conftest import World

pytestmark = pytest.mark.asyncio


async def test_every_answer_has_its_headers(client: httpx2.AsyncClient) -> None:
    seen = set()
    for path in ("/v1/jobs", "/v1/jobs/x", "/nope", "/docs", "/livez", "/openapi.json", "/v1/jobs?x=1", "/problems/zz"):
        headers = (await client.get(path)).headers
        assert headers["x-kjr-version"] == kube_job_runner.__version__
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["cache-control"] == "no-store"
        seen.add(headers["x-request-id"])
    assert len(seen) == 8


@pytest.mark.parametrize(("given", "kept"), [("abc-1.Z_9", True), ("x" * 65, False), ("a b", False), ("a<b", False)])
async def test_a_request_id_is_kept_when_it_is_harmless(given: str, kept: bool, client: httpx2.AsyncClient) -> None:
    answer = await client.get("/v1/jobs/x", headers={"X-Request-Id": given})
    assert (answer.headers["x-request-id"] == given) is kept
    assert answer.json()["request_id"] == answer.headers["x-request-id"]


async def test_405_names_the_methods(client: httpx2.AsyncClient) -> None:
    assert (await client.delete("/v1/jobs")).headers["allow"] == "GET, HEAD, POST"
    assert (await client.get("/v1/jobs:batch")).headers["allow"] == "POST"
    head = await client.head("/v1/jobs")
    assert (head.status_code, head.content) == (200, b"")


async def test_a_bug_is_a_500_without_details(world: World, client: httpx2.AsyncClient) -> None:
    world.store.failure = RuntimeError("password=hunter2")
    response = await client.get("/v1/jobs")
    assert (response.status_code, response.json()["code"]) == (500, "internal-error")
    assert "hunter2" not in response.text
    assert response.json()["request_id"] == response.headers["x-request-id"]
