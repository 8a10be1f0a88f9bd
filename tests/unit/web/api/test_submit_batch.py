"""`POST /v1/jobs:batch`."""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

import httpx2
import pytest

from kube_job_runner.ports import Submission
from tests.unit.web.conftest import World

pytestmark = pytest.mark.asyncio


async def test_a_batch_answers_each_job_in_its_place(world: World, client: httpx2.AsyncClient) -> None:
    jobs = [{"image": "a"}, {"image": "b", "priority": 500}, {"image": "c"}, 5, {"image": "d", "x": 1}]
    for strict, statuses in (("", [201, 422, 201, 422, 201]), ("?strict=true", [201, 422, 201, 422, 422])):
        results = (await client.post("/v1/jobs:batch" + strict, json={"jobs": jobs})).json()["results"]
        assert [item["status"] for item in results] == statuses
        assert results[1]["problem"]["errors"] == [{"pointer": "/jobs/1/priority", "detail": "must be at most 100"}]
        assert results[3]["problem"]["errors"][0]["pointer"] == "/jobs/3"
        names = [world.store.jobs[UUID(item["job"]["id"])].name for item in results if "job" in item]
        assert names == (["a", "c", "d"] if not strict else ["a", "c"])


async def test_a_batch_is_one_commit(world: World, client: httpx2.AsyncClient) -> None:
    response = await client.post("/v1/jobs:batch", json={"jobs": [{"image": "a"}] * 1000})
    assert {item["status"] for item in response.json()["results"]} == {201}
    assert world.store.commits == [1000]


async def test_a_row_that_the_store_refuses_fails_alone(world: World, client: httpx2.AsyncClient) -> None:
    def refuse(batch: Sequence[Submission]) -> None:
        if any(one.job.name == "bad" for one in batch):
            raise ValueError("secret detail of the store")

    world.store.before_insert = refuse
    response = await client.post("/v1/jobs:batch", json={"jobs": [{"image": "a"}, {"image": "a", "name": "bad"}]})
    assert [item["status"] for item in response.json()["results"]] == [201, 500]
    single = await client.post("/v1/jobs", json={"image": "a", "name": "bad"})
    assert (single.status_code, single.json()["code"]) == (500, "internal-error")
    assert "secret detail" not in response.text + single.text
