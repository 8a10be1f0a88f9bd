"""Health and metrics of a process."""

from __future__ import annotations

import httpx2
import pytest

import kube_job_runner
from kube_job_runner.domain.errors import DatabaseUnavailable
from tests.unit.web.conftest import World

pytestmark = pytest.mark.asyncio


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


async def test_readiness_when_the_store_cannot_even_be_asked(world: World, client: httpx2.AsyncClient) -> None:
    async def fail() -> dict[str, str | None]:
        raise DatabaseUnavailable

    world.health.check = fail  # type: ignore[method-assign]
    answer = await client.get("/readyz?verbose=true")
    assert (answer.status_code, "[-]database failed" in answer.text) == (503, True)


async def test_a_draining_server_is_not_ready_but_alive(world: World, client: httpx2.AsyncClient) -> None:
    await world.app.drain()
    answer = await client.get("/readyz")
    assert (answer.status_code, answer.text.splitlines()[0]) == (503, "[-]draining failed: the process is stopping")
    assert answer.headers["connection"] == "close"
    assert (await client.get("/livez")).status_code == 200


async def test_metrics_hold_requests_and_readiness(client: httpx2.AsyncClient) -> None:
    await client.post("/v1/jobs", json={"image": "busybox"})
    text = (await client.get("/metrics")).text
    assert 'kjr_http_requests_total{operation="submitJob",status="201"}' in text
    assert 'kjr_http_request_seconds_count{operation="submitJob"}' in text
    assert "kjr_http_requests_in_flight 1.0" in text, "this very request"
    assert 'kjr_ready{check="database"} 1.0' in text
    assert f'kjr_build_info{{version="{kube_job_runner.__version__}"}} 1.0' in text
