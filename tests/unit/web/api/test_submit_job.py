"""`POST /v1/jobs`."""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

import httpx2
import pytest

from kube_job_runner.domain.errors import DatabaseUnavailable
from kube_job_runner.ports import Submission
from kube_job_runner.web.validation.fault import FAULTS_MAX
from tests.unit.web.conftest import World

pytestmark = pytest.mark.asyncio


async def test_a_submit_answers_with_the_stored_job(world: World, client: httpx2.AsyncClient) -> None:
    response = await client.post("/v1/jobs", json={"image": "busybox", "queue": "night", "labels": {"a": "b"}})
    answer = response.json()
    job = world.store.jobs[UUID(answer["id"])]
    assert answer == {
        "id": str(job.id),
        "name": "busybox",
        "state": "queued",
        "version": 1,
        "created_at": "2026-01-15T09:30:00Z",
        "queue": "night",
        "namespace": "default",
        "warnings": [],
    }
    assert response.headers["location"] == f"/v1/jobs/{job.id}"
    assert (job.owner, job.labels) == ("tester", {"a": "b"})
    stored = await client.get(response.headers["location"])
    assert stored.json()["id"] == answer["id"]
    assert (await client.get(f"/v1/jobs/{job.id}/spec")).json() == {
        "image": "busybox",
        "queue": "night",
        "labels": {"a": "b"},
    }


async def test_an_unknown_field_is_a_warning(client: httpx2.AsyncClient) -> None:
    response = await client.post("/v1/jobs", json={"image": "busybox", "retry": {"attempts": 2, "tries": 1}})
    assert response.status_code == 201
    assert response.json()["warnings"] == [
        {"pointer": "/retry/tries", "detail": "is not a known field; it was ignored"}
    ]


async def test_a_lost_database_is_a_503_that_may_be_repeated(world: World, client: httpx2.AsyncClient) -> None:
    def refuse(_batch: Sequence[Submission]) -> None:
        raise DatabaseUnavailable(delay_seconds=7)

    world.store.before_insert = refuse
    world.store.failure = DatabaseUnavailable()
    for method, path, body in (
        ("POST", "/v1/jobs", {"image": "a"}),
        ("POST", "/v1/jobs:batch", {"jobs": [{"image": "a"}]}),
        ("GET", "/v1/jobs", None),
    ):
        response = await client.request(method, path, json=body)
        assert (response.status_code, response.json()["code"]) == (503, "database-unavailable")
        assert response.json()["retryable"] is True
        assert response.headers["retry-after"] == ("7" if body else "1")


async def test_an_answer_to_a_flood_of_faults_is_small(client: httpx2.AsyncClient) -> None:
    response = await client.post("/v1/jobs", json={"image": "a", "env": {f"{n}": "x" for n in range(900)}})
    assert response.status_code == 422
    assert len(response.json()["errors"]) == FAULTS_MAX
    assert len(response.content) < 50_000
