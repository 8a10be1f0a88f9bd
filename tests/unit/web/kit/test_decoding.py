"""Where bodies are decoded, and how many bytes of them there may be at once."""

from __future__ import annotations

import asyncio
import json
import threading
from typing import Any

import httpx2
import pytest

from kube_job_runner.web.kit.decoding import SMALL_BYTES, Budget, Decoding
from kube_job_runner.web.kit.problems import RequestProblem
from kube_job_runner.web.validation import type_walk
from tests.unit.web.conftest import World

pytestmark = pytest.mark.asyncio


async def where(body: bytes, *, faulty: bool = False) -> str:
    """Return in which thread a body was decoded."""
    threads: list[str] = []

    def fast(_body: bytes) -> str | None:
        return None if faulty else "fast"

    def full(_body: bytes) -> str:
        threads.append(threading.current_thread().name.partition("_")[0])
        return "full"

    way = await Decoding().run(body, fast=fast, full=full)
    return "loop" if way == "fast" or threads == ["MainThread"] else threads[0]


async def test_only_light_bodies_are_decoded_in_the_loop() -> None:
    assert await where(b" " * 4096, faulty=True) == "loop"
    assert await where(b'{"a":"' + b"x" * 400_000 + b'"}') == "loop"
    assert await where(b'{"a":"' + b"x" * 400_000 + b'"}', faulty=True) == "bodies"
    assert await where(b"[" + b"1," * 15_000 + b"1]") == "loop"
    assert await where(b"[" + b"1," * 25_000 + b"1]") == "bodies"
    assert await where(b'{"a":"' + b"x" * 600_000 + b'"}') == "bodies"


async def test_the_slow_path_of_a_large_body_never_runs_in_the_loop(
    world: World, client: httpx2.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    threads = set()
    walk = type_walk.Walk.value

    def noted(self: type_walk.Walk, *arguments: Any) -> Any:
        threads.add(threading.current_thread())
        return walk(self, *arguments)

    monkeypatch.setattr(type_walk.Walk, "value", noted)
    body = b'{"image":"a","x":[' + b"{}," * 50_000 + b'{}],"env":5}'
    for path, content in (("/v1/jobs", body), ("/v1/jobs:batch", b'{"jobs":[' + body + b"]}")):
        answer = await client.post(path, content=content, headers={"Content-Type": "application/json"})
        assert answer.status_code in (200, 422)
    assert threads
    assert threading.main_thread() not in threads


@pytest.mark.parametrize("path", ["/v1/jobs", "/v1/jobs:batch", "/v1/retry-policies:simulate"])
async def test_a_body_of_too_many_values_is_refused_before_it_is_decoded(path: str, client: httpx2.AsyncClient) -> None:
    body = b'{"image":"a","jobs":[' + b"{}," * 4_000_000 + b"{}]}"
    answer = await client.post(path, content=body, headers={"Content-Type": "application/json"})
    assert (answer.status_code, answer.json()["code"]) == (413, "body-too-complex")


async def test_large_bodies_are_limited_together_and_small_ones_are_not(world: World) -> None:
    world = World(body_max_bytes=1_000_000, bodies_max_bytes=2_000_000)
    holding = asyncio.Event()
    world.store.before_insert = lambda _batch: holding.wait()
    spec = {"image": "a", "args": ["x" * 100_000, "y" * 100_000], "annotations": {"z": "z" * 50_000}}
    async with world.client() as client:
        large = [asyncio.create_task(client.post("/v1/jobs", json=spec)) for _ in range(8)]
        small = [asyncio.create_task(client.post("/v1/jobs", json={"image": "a"})) for _ in range(20)]
        await asyncio.sleep(0.5)
        assert world.app.app._budget.used_bytes <= 1_000_000  # half of it, with one token
        holding.set()
        answers = await asyncio.gather(*large)
        assert all(answer.status_code == 201 for answer in await asyncio.gather(*small))
    refused = [answer for answer in answers if answer.status_code == 503]
    assert 0 < len(refused) < len(large)
    assert all(
        answer.json()["code"] == "too-many-bodies" and answer.headers["retry-after"] == "1" for answer in refused
    )
    assert world.app.app._budget.used_bytes == 0


async def test_a_budget_is_given_back_and_shared() -> None:
    budget = Budget(1_000_000)
    one, two = budget.lease("one"), budget.lease("two")
    one.add(SMALL_BYTES)
    assert budget.used_bytes == 0
    one.add(400_000)
    with pytest.raises(RequestProblem):
        budget.lease("one").add(SMALL_BYTES + 200_000)
    two.add(SMALL_BYTES + 500_000)
    with pytest.raises(RequestProblem):
        budget.lease("three").add(SMALL_BYTES + 200_000)
    for lease in (one, one, two):
        lease.end()
    assert budget.used_bytes == 0
    budget.lease("three").add(SMALL_BYTES + 400_000)


async def test_the_faults_of_a_batch_are_limited_together(client: httpx2.AsyncClient) -> None:
    job = {"image": "a", "env": {f"bad name {n}": "x" for n in range(50)}}
    answer = await client.post("/v1/jobs:batch", json={"jobs": [job] * 1000})
    shown = [len(result["problem"]["errors"]) for result in answer.json()["results"]]
    assert (shown[0], shown[-1], len(shown)) == (50, 1, 1000)
    assert sum(shown) <= 2000
    assert "50 faults" in answer.json()["results"][-1]["problem"]["detail"]
    assert len(answer.content) < len(json.dumps([job] * 1000))
