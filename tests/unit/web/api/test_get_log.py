"""Logs over HTTP: which log is read, waiting for it, and the reason when there is none."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import httpx2
import msgspec
import pytest

from kube_job_runner.domain.errors import TemporaryError
from kube_job_runner.domain.facts import AttemptFacts, Condition, JobFacts
from kube_job_runner.domain.job import Attempt, Verdict
from kube_job_runner.domain.states import State
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
    world.logs.print(job_id, b"first\n", attempt=1, status="stored")
    world.logs.print(job_id, b"\x1b[31m<b>\xff\n", attempt=2, status="stored")
    response = await client.get(f"/v1/jobs/{job_id}/logs?tail=10")
    assert response.content == b"\x1b[31m<b>\xff\n"
    assert response.headers["content-type"] == "text/plain; charset=utf-8"
    assert response.headers["x-content-type-options"] == "nosniff"
    assert "sandbox" in response.headers["content-security-policy"]
    assert (await client.get(f"/v1/jobs/{job_id}/logs?attempt=1")).text == "first\n"
    head = await client.head(f"/v1/jobs/{job_id}/logs?follow=true")
    assert (head.status_code, head.content) == (200, b"")


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
    assert "its container has not started" in answer.json()["detail"]


async def test_why_there_is_no_log_any_more(world: World, client: httpx2.AsyncClient) -> None:
    job_id = await submitted(client)
    world.store.change(job_id, state=State.FAILED, attempt=1)
    verdict = Verdict(outcome=State.FAILED, reason="ImageNotFound", explanation="no such image")
    for fields, words in (
        ({"verdict": verdict}, "never started, so it wrote no log (ImageNotFound: no such image)"),
        ({"verdict": verdict, "pod_name": "p1", "started_at": NOW}, "it ran before this server stored logs"),
    ):
        world.store.attempts[job_id] = [attempt(job_id, **fields)]
        for follow in ("", "?follow=true"):
            answer = await client.get(f"/v1/jobs/{job_id}/logs{follow}")
            assert (answer.status_code, answer.json()["code"]) == (404, "log-unavailable")
            assert words in answer.json()["detail"]
    answer = await client.get(f"/v1/jobs/{job_id}/logs?attempt=7")
    assert (answer.status_code, answer.json()["code"]) == (404, "log-unavailable")
    world.logs.print(job_id, status="lost", lost_reason="the node is gone")
    answer = await client.get(f"/v1/jobs/{job_id}/logs?follow=true")
    assert (answer.status_code, answer.json()["code"]) == (404, "log-unavailable")
    assert "the log of attempt 1 is lost: the node is gone" in answer.json()["detail"]


async def test_the_log_of_a_pod_that_was_not_seen_is_lost_only_once_its_cluster_job_is_removed(
    world: World, client: httpx2.AsyncClient
) -> None:
    job_id = await submitted(client)
    world.store.change(job_id, state=State.SUCCEEDED, attempt=1)
    complete = JobFacts(uid="u", conditions=(Condition(type="Complete", status="True"),))
    unseen = attempt(job_id, facts=AttemptFacts(job=complete))
    removed = msgspec.structs.replace(unseen, delete_requested_at=NOW)
    for now, words in ((unseen, "was not seen yet; its log can still come"), (removed, "its pod was never seen")):
        world.store.attempts[job_id] = [now]
        answer = await client.get(f"/v1/jobs/{job_id}/logs?follow=true")
        assert (answer.status_code, answer.json()["code"]) == (404, "log-unavailable")
        assert words in answer.json()["detail"]


async def test_what_is_left_of_a_lost_log_is_shown(world: World, client: httpx2.AsyncClient) -> None:
    job_id = await submitted(client)
    world.store.change(job_id, state=State.FAILED, attempt=1)
    world.logs.print(job_id, b"as far as it came\n", status="lost", lost_reason="the node is gone")
    answer = await client.get(f"/v1/jobs/{job_id}/logs")
    assert (answer.status_code, answer.text) == (200, "as far as it came\n")


async def test_follow_waits_for_the_start_and_ends_with_the_log(world: World, client: httpx2.AsyncClient) -> None:
    job_id = await submitted(client)
    request = asyncio.create_task(client.get(f"/v1/jobs/{job_id}/logs?follow=true"))
    await asyncio.sleep(5)
    world.store.change(job_id, state=State.RUNNING, attempt=1)
    world.store.attempts[job_id] = [attempt(job_id, pod_name="p1")]
    world.logs.print(job_id, b"one\n")
    await asyncio.sleep(5)
    assert world.logs.wanted == [(job_id, 1)], "the log-collector is told once, and again from time to time"
    for _ in range(2):
        world.clock.seconds += 20
        await asyncio.sleep(5)
    assert len(world.logs.wanted) == 3
    assert not request.done()
    world.logs.print(job_id, b"two\n", status="stored")
    response = await request
    assert (response.status_code, response.text) == (200, "one\ntwo\n")


async def test_many_readers_share_one_query(world: World, client: httpx2.AsyncClient) -> None:
    job_id = await submitted(client)
    world.store.change(job_id, state=State.RUNNING, attempt=1)
    world.logs.print(job_id, b"one\n")
    requests = [asyncio.create_task(client.get(f"/v1/jobs/{job_id}/logs?follow=true")) for _ in range(50)]
    await asyncio.sleep(10)
    assert world.logs.version_queries <= 40, "about one a second, however many read"
    world.logs.print(job_id, status="stored")
    assert {(await request).text for request in requests} == {"one\n"}


async def test_a_plain_read_of_a_running_attempt_waits_for_the_collector_but_not_long(
    world: World, client: httpx2.AsyncClient
) -> None:
    job_id = await submitted(client)
    world.store.change(job_id, state=State.RUNNING, attempt=1)
    world.logs.print(job_id, b"one\n")
    world.logs.logs[job_id, 1].fresh = False
    request = asyncio.create_task(client.get(f"/v1/jobs/{job_id}/logs"))
    await asyncio.sleep(1)
    assert not request.done()
    world.logs.print(job_id, b"two\n")
    world.logs.logs[job_id, 1].fresh = True
    assert (await request).text == "one\ntwo\n"
    world.logs.logs[job_id, 1].fresh = False
    late = asyncio.create_task(client.get(f"/v1/jobs/{job_id}/logs"))
    for _ in range(8):
        world.clock.seconds += 0.5
        await asyncio.sleep(0.5)
    assert (await late).text == "one\ntwo\n", "without a collector the answer is what is stored"


async def test_narrowed_by_tail_since_text_and_container(world: World, client: httpx2.AsyncClient) -> None:
    job_id = await submitted(client)
    world.store.change(job_id, state=State.SUCCEEDED, attempt=1)
    second = 1_000_000_000
    start = 1_768_469_000 * second  # 2026-01-15T09:23:20Z; the clock stands at 09:30
    for number in range(40):
        world.logs.print(job_id, b"line %d\n" % number, stamp=start + number * 10 * second)
    world.logs.print(job_id, b"set up\n", container="init", status="stored")

    async def read(query: str) -> str:
        answer = await client.get(f"/v1/jobs/{job_id}/logs?{query}")
        assert answer.status_code == 200, answer.text
        return answer.text

    assert await read("tail=2") == "line 38\nline 39\n"
    assert await read("tail=0") == ""
    assert (await read("tail=1000")).count("\n") == 40
    assert await read("since=20s") == "line 38\nline 39\n"
    assert await read("since=1s") == ""
    assert (
        await read("since=20") == await read("since=0m20s") == await read("since=19s1000ms") == await read("since=20s")
    )
    assert await read("since=2026-01-15T10:29:45%2B01:00") == "line 39\n"
    assert await read("grep=ine%2039") == "line 39\n"
    assert await read("tail=15&grep=5") == "line 25\nline 35\n"
    assert await read("tail=1&timestamps=true") == "2026-01-15T09:29:50.000000000Z line 39\n"
    assert await read("container=init") == "set up\n"


@pytest.mark.parametrize(
    ("query", "pointer", "words"),
    [
        ("since=yesterday", "/since", "must be a duration such as 90s"),
        ("since=10x", "/since", "must be a duration"),
        ("after=here", "/after", "must be a place that the server gave"),
        ("grep=" + "x" * 2000, "/grep", "1024"),
        ("grep=", "/grep", "length"),
        ("tail=-1", "/tail", "0"),
        ("container=" + "x" * 64, "/container", "63"),
    ],
)
async def test_a_wrong_query_names_field_limit_and_remedy(
    world: World, client: httpx2.AsyncClient, query: str, pointer: str, words: str
) -> None:
    job_id = await submitted(client)
    answer = await client.get(f"/v1/jobs/{job_id}/logs?{query}")
    assert answer.status_code == 422
    [fault] = answer.json()["errors"]
    assert fault["pointer"] == pointer
    assert words in fault["detail"]


async def test_frames_lead_on_from_any_place(world: World, client: httpx2.AsyncClient) -> None:
    job_id = await submitted(client)
    world.store.change(job_id, state=State.SUCCEEDED, attempt=1)
    world.logs.print(job_id, b"".join(b"line %d\n" % n for n in range(60)) + b"no end", status="stored")
    for query in ("", "&grep=4", "&timestamps=true", "&tail=7", "&grep=no"):
        whole = (await client.get(f"/v1/jobs/{job_id}/logs?{query[1:]}")).content
        answer = await client.get(f"/v1/jobs/{job_id}/logs?frames=true{query}")
        assert answer.headers["content-type"] == "application/vnd.kube-job-runner.log-frames"
        rest, read = answer.content, b""
        while rest:
            head, _, rest = rest.partition(b"\n")
            place, length = head.split()
            read, rest = read + rest[: int(length)], rest[int(length) :]
            again = await client.get(f"/v1/jobs/{job_id}/logs?after={place.decode()}{query}")
            assert read + again.content == whole
        assert read == whole


async def test_follow_ends_empty_when_the_attempt_never_starts(world: World, client: httpx2.AsyncClient) -> None:
    job_id = await submitted(client)
    request = asyncio.create_task(client.get(f"/v1/jobs/{job_id}/logs?follow=true"))
    await asyncio.sleep(5)
    world.store.change(job_id, state=State.CANCELLED)
    response = await request
    assert (response.status_code, response.text) == (200, "")


async def test_draining_ends_an_open_stream_cleanly(world: World, client: httpx2.AsyncClient) -> None:
    job_id = await submitted(client)
    world.store.change(job_id, state=State.RUNNING, attempt=1)
    world.logs.print(job_id, b"one\n")
    request = asyncio.create_task(client.get(f"/v1/jobs/{job_id}/logs?follow=true"))
    await asyncio.sleep(1)
    assert not request.done()
    await world.app.drain()
    assert (await request).text == "one\n"


async def test_a_stream_that_breaks_is_not_ended_as_if_it_were_complete(
    world: World, client: httpx2.AsyncClient
) -> None:
    job_id = await submitted(client)
    world.store.change(job_id, state=State.RUNNING, attempt=1)
    world.logs.print(job_id, b"one\n")
    sent = []

    async def send(message: Any) -> None:
        sent.append(message)
        world.logs.failure = TemporaryError("the store went away")

    async def receive() -> Any:
        await asyncio.sleep(3600)

    scope = {
        "type": "http",
        "method": "GET",
        "path": f"/v1/jobs/{job_id}/logs",
        "query_string": b"follow=true",
        "headers": [(b"authorization", f"Bearer {world.secret}".encode())],
    }
    serving = asyncio.create_task(world.app(scope, receive, send))
    await asyncio.sleep(5)
    await serving
    assert all(message.get("more_body") for message in sent[1:])
