"""Logs over HTTP: which log is read, waiting for it, and the reason when there is none."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import httpx2
import pytest

from kube_job_runner.domain.errors import TemporaryError
from kube_job_runner.domain.job import Attempt, State, Verdict
from tests.unit.web.conftest import World

pytestmark = [pytest.mark.asyncio, pytest.mark.looptime]
NOW = datetime(2026, 1, 15, tzinfo=UTC)


async def submitted(client: httpx2.AsyncClient) -> UUID:
    return UUID((await client.post("/v1/jobs", json={"image": "busybox"})).json()["id"])


def attempt(job_id: UUID, number: int = 1, **fields: Any) -> Attempt:
    return Attempt(job_id=job_id, number=number, namespace="work", cluster_name=f"busybox-{number}", **fields)


async def test_the_log_of_the_newest_attempt_is_raw_text(world: World, client: httpx2.AsyncClient) -> None:
    job_id = await submitted(client)
    world.store.change(job_id, state=State.RUNNING, attempt=2)
    world.store.attempts[job_id] = [attempt(job_id, 1, pod_name="p1"), attempt(job_id, 2, pod_name="p2")]
    world.cluster_logs.chunks = {"p1": [b"first\n"], "p2": [b"\x1b[31m<b>", b"\xff\n"]}
    response = await client.get(f"/v1/jobs/{job_id}/logs?tail=10")
    assert response.content == b"\x1b[31m<b>\xff\n"
    assert response.headers["content-type"] == "text/plain; charset=utf-8"
    assert response.headers["x-content-type-options"] == "nosniff"
    assert "sandbox" in response.headers["content-security-policy"]
    assert world.cluster_logs.asked == [("work", "p2", "main", False, 10)]
    assert (await client.get(f"/v1/jobs/{job_id}/logs?attempt=1")).text == "first\n"
    head = await client.head(f"/v1/jobs/{job_id}/logs?follow=true")
    assert (head.status_code, head.content) == (200, b"")
    assert world.cluster_logs.open == 0


async def test_why_there_is_no_log_yet(world: World, client: httpx2.AsyncClient) -> None:
    job_id = await submitted(client)
    answer = await client.get(f"/v1/jobs/{job_id}/logs")
    assert (answer.status_code, answer.json()["code"], answer.json()["retryable"]) == (409, "log-not-ready", True)
    world.store.change(job_id, state=State.STARTING, attempt=1)
    world.store.attempts[job_id] = [attempt(job_id)]
    answer = await client.get(f"/v1/jobs/{job_id}/logs")
    assert "its pod has not started" in answer.json()["detail"]
    world.store.attempts[job_id] = [attempt(job_id, pod_name="pending")]
    answer = await client.get(f"/v1/jobs/{job_id}/logs")
    assert (answer.status_code, answer.json()["code"]) == (409, "log-not-ready")


async def test_why_there_is_no_log_any_more(world: World, client: httpx2.AsyncClient) -> None:
    job_id = await submitted(client)
    world.store.change(job_id, state=State.FAILED, attempt=1)
    verdict = Verdict(outcome=State.FAILED, reason="ImageNotFound", explanation="no such image")
    for fields, words in (
        ({"verdict": verdict}, "never started, so it wrote no log (ImageNotFound: no such image)"),
        ({"verdict": verdict, "pod_name": "p1", "started_at": NOW, "gone_at": NOW}, "was removed from the cluster"),
        ({"verdict": verdict, "pod_name": "p1", "started_at": NOW}, "no longer has the log"),
    ):
        world.store.attempts[job_id] = [attempt(job_id, **fields)]
        for follow in ("", "?follow=true"):
            answer = await client.get(f"/v1/jobs/{job_id}/logs{follow}")
            assert (answer.status_code, answer.json()["code"]) == (404, "log-unavailable")
            assert words in answer.json()["detail"]
    answer = await client.get(f"/v1/jobs/{job_id}/logs?attempt=7")
    assert (answer.status_code, answer.json()["code"]) == (404, "log-unavailable")


async def test_follow_waits_for_the_pod_and_ends_with_the_container(world: World, client: httpx2.AsyncClient) -> None:
    job_id = await submitted(client)
    world.cluster_logs.hold.clear()
    request = asyncio.create_task(client.get(f"/v1/jobs/{job_id}/logs?follow=true"))
    await asyncio.sleep(5)
    world.store.change(job_id, state=State.STARTING, attempt=1)
    world.store.attempts[job_id] = [attempt(job_id, pod_name="p1")]
    await asyncio.sleep(5)
    world.cluster_logs.chunks["p1"] = [b"one\n", b"two\n"]
    world.store.change(job_id, state=State.RUNNING)
    await asyncio.sleep(5)
    assert world.cluster_logs.open == 1
    assert not request.done()
    world.cluster_logs.hold.set()
    response = await request
    assert (response.status_code, response.text) == (200, "one\ntwo\n")


async def test_follow_ends_empty_when_the_attempt_never_starts(world: World, client: httpx2.AsyncClient) -> None:
    job_id = await submitted(client)
    request = asyncio.create_task(client.get(f"/v1/jobs/{job_id}/logs?follow=true"))
    await asyncio.sleep(5)
    world.store.change(job_id, state=State.CANCELLED)
    response = await request
    assert (response.status_code, response.text) == (200, "")


async def test_follow_outlasts_a_cluster_that_does_not_answer(world: World, client: httpx2.AsyncClient) -> None:
    job_id = await submitted(client)
    world.store.change(job_id, state=State.RUNNING, attempt=1)
    world.store.attempts[job_id] = [attempt(job_id, pod_name="p1")]
    world.cluster_logs.chunks["p1"] = []
    world.cluster_logs.breaks = TemporaryError("connection refused")
    answer = await client.get(f"/v1/jobs/{job_id}/logs")
    assert (answer.status_code, answer.json()["code"]) == (503, "unavailable")
    request = asyncio.create_task(client.get(f"/v1/jobs/{job_id}/logs?follow=true"))
    await asyncio.sleep(10)
    assert not request.done()
    world.cluster_logs.breaks = None
    world.cluster_logs.chunks["p1"] = [b"one\n"]
    assert (await request).text == "one\n"


async def test_draining_ends_an_open_stream_cleanly(world: World, client: httpx2.AsyncClient) -> None:
    job_id = await submitted(client)
    world.store.change(job_id, state=State.RUNNING, attempt=1)
    world.store.attempts[job_id] = [attempt(job_id, pod_name="p1")]
    world.cluster_logs.chunks["p1"] = [b"one\n"]
    world.cluster_logs.hold.clear()
    request = asyncio.create_task(client.get(f"/v1/jobs/{job_id}/logs?follow=true"))
    await asyncio.sleep(1)
    assert world.cluster_logs.open == 1
    await world.app.drain()
    assert (await request).text == "one\n"
    assert world.cluster_logs.open == 0


async def test_a_stream_that_breaks_is_not_ended_as_if_it_were_complete(
    world: World, client: httpx2.AsyncClient
) -> None:
    job_id = await submitted(client)
    world.store.change(job_id, state=State.RUNNING, attempt=1)
    world.store.attempts[job_id] = [attempt(job_id, pod_name="p1")]
    world.cluster_logs.chunks["p1"] = [b"one\n"]
    world.cluster_logs.breaks = TemporaryError("the cluster went away")
    sent = []

    async def send(message: Any) -> None:
        sent.append(message)

    async def receive() -> Any:
        await asyncio.sleep(3600)

    scope = {
        "type": "http",
        "method": "GET",
        "path": f"/v1/jobs/{job_id}/logs",
        "query_string": b"follow=true",
        "headers": [(b"authorization", f"Bearer {world.secret}".encode())],
    }
    await world.app(scope, receive, send)
    assert [message.get("more_body") for message in sent[1:]] == [True]


async def test_a_client_that_leaves_ends_the_stream_at_the_cluster(world: World, client: httpx2.AsyncClient) -> None:
    job_id = await submitted(client)
    world.store.change(job_id, state=State.RUNNING, attempt=1)
    world.store.attempts[job_id] = [attempt(job_id, pod_name="p1")]
    world.cluster_logs.chunks["p1"] = [b"one\n"]
    world.cluster_logs.hold.clear()
    left = asyncio.Event()

    async def send(_message: Any) -> None:
        pass

    async def receive() -> Any:
        await left.wait()
        return {"type": "http.disconnect"}

    scope = {
        "type": "http",
        "method": "GET",
        "path": f"/v1/jobs/{job_id}/logs",
        "query_string": b"follow=true",
        "headers": [(b"authorization", f"Bearer {world.secret}".encode())],
    }
    serving = asyncio.create_task(world.app(scope, receive, send))
    await asyncio.sleep(1)
    assert world.cluster_logs.open == 1
    left.set()
    await serving
    assert world.cluster_logs.open == 0
