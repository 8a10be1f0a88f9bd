"""Health, metrics, pages, headers, and the documents that are committed."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import httpx2
import pytest

import kube_job_runner
from kube_job_runner.domain.errors import DatabaseUnavailable
from kube_job_runner.web.api import reference
from kube_job_runner.web.api.problem_types import ALL_PROBLEMS
from tests.unit.web.conftest import World

ROOT = Path(__file__).parents[3]


@pytest.mark.asyncio
async def test_health(world: World, client: httpx2.AsyncClient) -> None:
    assert (await client.get("/livez")).text == "ok\n"
    assert (await client.get("/healthz")).text == "ok\n"
    assert (await client.get("/readyz")).text == "ok\n"
    verbose = await client.get("/readyz?verbose")
    assert verbose.text == "[+]draining ok\n[+]database ok\n[+]schema ok\nready\n"
    assert world.health.asked == 1
    world.health.checks = {"database": None, "schema": "behind by 1"}
    assert (await client.get("/readyz")).status_code == 200
    world.clock.seconds += 1.1
    broken = await client.get("/readyz")
    assert (broken.status_code, "[-]schema failed: behind by 1" in broken.text) == (503, True)
    assert (await client.get("/livez")).status_code == 200


@pytest.mark.asyncio
async def test_readiness_when_the_store_cannot_even_be_asked(world: World, client: httpx2.AsyncClient) -> None:
    async def fail() -> dict[str, str | None]:
        raise DatabaseUnavailable

    world.health.check = fail  # type: ignore[method-assign]
    answer = await client.get("/readyz?verbose=true")
    assert (answer.status_code, "[-]database failed" in answer.text) == (503, True)


@pytest.mark.asyncio
async def test_a_draining_server_is_not_ready_but_alive(world: World, client: httpx2.AsyncClient) -> None:
    await world.app.drain()
    answer = await client.get("/readyz")
    assert (answer.status_code, answer.text.splitlines()[0]) == (503, "[-]draining failed: the process is stopping")
    assert answer.headers["connection"] == "close"
    assert (await client.get("/livez")).status_code == 200


@pytest.mark.asyncio
async def test_metrics_hold_requests_and_readiness(client: httpx2.AsyncClient) -> None:
    await client.post("/v1/jobs", json={"image": "busybox"})
    text = (await client.get("/metrics")).text
    assert 'kjr_http_requests_total{operation="submitJob",status="201"}' in text
    assert 'kjr_http_request_seconds_count{operation="submitJob"}' in text
    assert "kjr_http_requests_in_flight 1.0" in text, "this very request"
    assert 'kjr_ready{check="database"} 1.0' in text
    assert f'kjr_build_info{{version="{kube_job_runner.__version__}"}} 1.0' in text


@pytest.mark.asyncio
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
@pytest.mark.asyncio
async def test_a_request_id_is_kept_when_it_is_harmless(given: str, kept: bool, client: httpx2.AsyncClient) -> None:
    answer = await client.get("/v1/jobs/x", headers={"X-Request-Id": given})
    assert (answer.headers["x-request-id"] == given) is kept
    assert answer.json()["request_id"] == answer.headers["x-request-id"]


@pytest.mark.asyncio
async def test_the_pages_run_no_inline_script(client: httpx2.AsyncClient) -> None:
    root = await client.get("/")
    assert (root.status_code, root.headers["location"]) == (307, "/docs")
    page = await client.get("/docs")
    assert "default-src 'none'; script-src 'self'" in page.headers["content-security-policy"]
    assert "unsafe" not in page.headers["content-security-policy"]
    assert not re.search(r"<script(?![^>]*src=)|\son\w+=|style=", page.text)
    for link in re.findall(r'(?:src|href)="([^"]+)"', page.text):
        assert (await client.get(link)).status_code == 200
    assert (await client.get("/static/docs.js")).headers["content-type"].startswith("text/javascript")


@pytest.mark.asyncio
async def test_every_kind_of_problem_has_its_page(client: httpx2.AsyncClient) -> None:
    for kind in ALL_PROBLEMS:
        page = await client.get(f"/problems/{kind.code}")
        assert page.status_code == 200
        assert kind.code in page.text
        assert page.headers["content-type"] == "text/html; charset=utf-8"
    assert (await client.get("/problems/<script>")).status_code == 404


@pytest.mark.asyncio
async def test_405_names_the_methods(client: httpx2.AsyncClient) -> None:
    assert (await client.delete("/v1/jobs")).headers["allow"] == "GET, HEAD, POST"
    assert (await client.get("/v1/jobs:batch")).headers["allow"] == "POST"
    head = await client.head("/v1/jobs")
    assert (head.status_code, head.content) == (200, b"")


@pytest.mark.parametrize("path", ["docs/openapi.json", "docs/reference/problems.md"])
def test_the_committed_reference_is_what_the_code_says(path: str) -> None:
    committed = (ROOT / path).read_bytes()
    assert committed == reference.files()[path], "run: python -m kube_job_runner.web.api.reference"


@pytest.mark.asyncio
async def test_the_served_document_is_the_committed_one(client: httpx2.AsyncClient) -> None:
    served = (await client.get("/openapi.json")).json()
    assert served == json.loads((ROOT / "docs/openapi.json").read_bytes())


def _references(node: Any) -> set[str]:
    if isinstance(node, dict):
        here = {node["$ref"]} if "$ref" in node else set()
        return here.union(*(_references(value) for value in node.values()))
    return set().union(*(_references(item) for item in node)) if isinstance(node, list) else set()


def test_the_document_is_whole() -> None:
    document = json.loads(reference.files()["docs/openapi.json"])
    operations = [operation for methods in document["paths"].values() for operation in methods.values()]
    ids = [operation["operationId"] for operation in operations]
    assert len(set(ids)) == len(ids) >= 14
    for found in _references(document):
        node = document
        for part in found.removeprefix("#/").split("/"):
            node = node[part]
    for operation in operations:
        assert operation["summary"]
        assert ("401" in operation["responses"]) is bool(operation["security"])
    assert '"additionalProperties": false' not in json.dumps(document)
    served = {problem.code for problem in ALL_PROBLEMS} - {"method-not-allowed"}
    assert served == set(document["components"]["examples"])
