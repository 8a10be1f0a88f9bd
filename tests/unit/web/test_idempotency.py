"""Idempotency keys on single submits and on batches."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from typing import Any

import httpx2
import pytest

from kube_job_runner.domain.errors import DatabaseUnavailable
from kube_job_runner.ports import Submission
from tests.unit.web.conftest import World

pytestmark = pytest.mark.asyncio


async def submit(client: httpx2.AsyncClient, key: str, path: str = "/v1/jobs", **body: Any) -> httpx2.Response:
    return await client.post(path, json=body, headers={"Idempotency-Key": key})


async def test_the_same_key_fifty_times_at_once_makes_one_job(world: World, client: httpx2.AsyncClient) -> None:
    answers = await asyncio.gather(*(submit(client, "k1", image="busybox") for _ in range(50)))
    assert len(world.store.jobs) == 1
    assert {answer.status_code for answer in answers} == {201}
    assert len({answer.content for answer in answers}) == 1
    assert len({answer.headers["location"] for answer in answers}) == 1
    assert sum("idempotency-replayed" in answer.headers for answer in answers) == 49


async def test_quoted_and_bare_keys_are_the_same_key(world: World, client: httpx2.AsyncClient) -> None:
    for key in ("a b", '"a b"', r'"a b"'):
        assert (await submit(client, key, image="busybox")).status_code == 201
    assert (await submit(client, r'"say \"hi\""', image="busybox")).status_code == 201
    assert (await submit(client, 'say "hi"', image="busybox")).headers["idempotency-replayed"] == "true"
    assert len(world.store.jobs) == 2


async def test_another_body_is_refused(world: World, client: httpx2.AsyncClient) -> None:
    await submit(client, "k1", image="busybox")
    answer = await submit(client, "k1", image="busybox", priority=1)
    assert (answer.status_code, answer.json()["code"]) == (422, "idempotency-key-reuse")
    assert len(world.store.jobs) == 1


async def test_a_body_written_differently_is_the_same_body(world: World, client: httpx2.AsyncClient) -> None:
    first = await submit(client, "k1", image="busybox", name="a")
    headers = {"Idempotency-Key": "k1", "Content-Type": "application/json"}
    again = await client.post("/v1/jobs", content=b'{ "name": "a",\n"image": "busybox" }', headers=headers)
    assert (again.status_code, again.content) == (201, first.content)


async def test_single_submits_and_batches_do_not_share_keys(world: World, client: httpx2.AsyncClient) -> None:
    await submit(client, "k1", image="busybox")
    assert (await submit(client, "k1", "/v1/jobs:batch", jobs=[{"image": "busybox"}])).status_code == 200
    assert len(world.store.jobs) == 2


async def test_keys_of_two_owners_do_not_meet(world: World, client: httpx2.AsyncClient) -> None:
    await submit(client, "k1", image="busybox")
    from kube_job_runner.web.auth import new_token

    secret, token = new_token("other")
    await world.tokens.add_token(token)
    headers = {"Idempotency-Key": "k1", "Authorization": f"Bearer {secret}"}
    answer = await client.post("/v1/jobs", json={"image": "debian"}, headers=headers)
    assert (answer.status_code, "idempotency-replayed" in answer.headers) == (201, False)


async def test_a_repeated_batch_has_the_same_answer(world: World, client: httpx2.AsyncClient) -> None:
    jobs = [{"image": "a"}, {"image": "B"}, {"image": "c", "x": 1}, {}]
    answers = await asyncio.gather(*(submit(client, "k1", "/v1/jobs:batch", jobs=jobs) for _ in range(10)))
    assert len(world.store.jobs) == 2
    for answer in answers:
        assert [item["status"] for item in answer.json()["results"]] == [201, 422, 201, 422]
    ids = {json.dumps([item.get("job") for item in answer.json()["results"]]) for answer in answers}
    assert len(ids) == 1
    again = await submit(client, "k1", "/v1/jobs:batch", jobs=jobs)
    assert again.headers["idempotency-replayed"] == "true"


@pytest.mark.parametrize(
    "other",
    [
        [{"image": "a"}, {"image": "b"}, {"image": "c"}],
        [{"image": "a"}],
        [{"image": "b"}, {"image": "a"}],
        [{"image": "a"}, {"image": "x"}],
        [{"image": "BAD"}, {"image": "a"}, {"image": "b"}],
    ],
)
async def test_another_batch_with_the_key_stores_nothing_of_it(
    other: list[dict[str, str]], world: World, client: httpx2.AsyncClient
) -> None:
    await submit(client, "k1", "/v1/jobs:batch", jobs=[{"image": "a"}, {"image": "b"}])
    answer = await submit(client, "k1", "/v1/jobs:batch", jobs=other)
    assert (answer.status_code, answer.json()["code"]) == (422, "idempotency-key-reuse")
    assert len(world.store.jobs) == 2


async def test_a_batch_cut_in_half_is_completed_by_its_repetition(world: World, client: httpx2.AsyncClient) -> None:
    def fail_the_second_commit(_batch: Sequence[Submission]) -> None:
        if world.store.commits:
            raise DatabaseUnavailable

    world.store.before_insert = fail_the_second_commit
    jobs = [{"image": "a"}, {"image": "b"}, {"image": "c"}]
    answer = await submit(client, "k1", "/v1/jobs:batch", jobs=jobs)
    assert (answer.status_code, answer.json()["retryable"]) == (503, True)
    assert len(world.store.jobs) == 1
    world.store.before_insert = None
    answer = await submit(client, "k1", "/v1/jobs:batch", jobs=jobs)
    assert [item["status"] for item in answer.json()["results"]] == [201, 201, 201]
    assert {item["job"]["id"] for item in answer.json()["results"]} == {str(job_id) for job_id in world.store.jobs}
    assert len(world.store.jobs) == 3
