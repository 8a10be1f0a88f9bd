"""What only a real socket shows: the clean end with open streams, slow and oversized requests, broken HTTP."""

from __future__ import annotations

import asyncio
import socket
import time
from typing import Any
from uuid import UUID

import pytest

from kube_job_runner.components import web_server
from kube_job_runner.domain.errors import ConfigurationError
from kube_job_runner.domain.job import Attempt, Job
from kube_job_runner.domain.states import State
from tests.integration.web.conftest import Served, head_of, request_of, serving, until
from tests.unit.web.conftest import World

pytestmark = pytest.mark.asyncio
ID = UUID("0199d1f2-7c00-7a3b-8c4d-5e6f708192a3")


def world_with_a_running_job(**settings: Any) -> World:
    world = World(port=0, **settings)
    now = world.clock.now()
    world.store.jobs[ID] = Job(id=ID, name="j", created_at=now, due_at=now, state=State.RUNNING, version=3, attempt=1)
    world.store.attempts[ID] = [
        Attempt(job_id=ID, number=1, namespace="default", cluster_name="j-1", pod_name="p", started_at=now)
    ]
    world.logs.print(ID, b"first line\n")
    return world


async def follow(served: Served, world: World, begun: asyncio.Semaphore) -> bytes:
    async with served.connect() as (reader, writer):
        writer.write(request_of("GET", f"/v1/jobs/{ID}/logs?follow=true", token=world.secret))
        status, headers = await head_of(reader)
        assert (status, headers["transfer-encoding"]) == (200, "chunked")
        begun.release()
        return await asyncio.wait_for(reader.read(), 30)


async def poll(served: Served, world: World, begun: asyncio.Semaphore) -> bytes:
    async with served.connect() as (reader, writer):
        writer.write(request_of("GET", f"/v1/jobs/{ID}?wait=60s&since=3", token=world.secret))
        begun.release()
        return await asyncio.wait_for(reader.read(), 30)


async def test_a_stop_ends_fifty_streams_and_long_polls_cleanly_and_soon() -> None:
    world = world_with_a_running_job(drain_seconds=10)
    async with serving(world.app, world.settings) as served:
        begun = asyncio.Semaphore(0)
        streams = [asyncio.create_task(follow(served, world, begun)) for _ in range(50)]
        polls = [asyncio.create_task(poll(served, world, begun)) for _ in range(50)]
        for _ in range(100):
            await begun.acquire()
        await until(lambda: world.app._log_hub.waiting == 50 and world.app._hub.waiting == 50)
        started = time.monotonic()
        served.stop.set()
        await served.task
        assert time.monotonic() - started < 3
        for body in await asyncio.gather(*streams):
            assert body == b"b\r\nfirst line\n\r\n0\r\n\r\n"  # the last chunk: complete, not broken off
        for answer in await asyncio.gather(*polls):
            assert b'"version":3' in answer
    assert world.app._log_hub.waiting == 0
    with pytest.raises(ConnectionRefusedError):
        await asyncio.open_connection("127.0.0.1", served.port)


async def test_while_it_drains_readyz_says_so_on_new_connections() -> None:
    world = world_with_a_running_job(drain_seconds=2)
    async with serving(world.app, world.settings) as served:
        await world.app.drain()
        answer = await served.exchange(request_of("GET", "/readyz"))
        assert b"503 Service Unavailable" in answer
        assert b"the process is stopping" in answer


async def test_a_request_that_never_ends_is_cut_off_within_the_bound() -> None:
    world = world_with_a_running_job(drain_seconds=1)
    stuck = asyncio.Event()
    world.store.before_insert = lambda _batch: stuck.wait()
    async with serving(world.app, world.settings) as served, served.connect() as (_reader, writer):
        writer.write(request_of("POST", "/v1/jobs", token=world.secret, body={"image": "a"}))
        await until(lambda: world.app._submitter.busy)
        started = time.monotonic()
        served.stop.set()
        await served.task
        assert time.monotonic() - started < 5
    stuck.set()
    await world.app.close()


async def test_a_slow_body_is_a_408_and_closes(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World(port=0, drain_seconds=0.2, body_timeout_seconds=0.2)
    async with serving(world.app, world.settings) as served, served.connect() as (reader, writer):
        head = request_of("POST", "/v1/jobs", token=world.secret, Content_Type="application/json", Content_Length="50")
        writer.write(head + b'{"image"')
        status, headers = await head_of(reader)
        assert (status, headers["connection"]) == (408, "close")
        assert b'"code":"body-timeout"' in await reader.read()


async def test_a_body_without_a_length_is_refused_while_it_streams() -> None:
    world = World(port=0, drain_seconds=0.2, body_max_bytes=4096)
    async with serving(world.app, world.settings) as served, served.connect() as (reader, writer):
        chunked = request_of(
            "POST", "/v1/jobs", token=world.secret, Content_Type="application/json", Transfer_Encoding="chunked"
        )
        writer.write(chunked + b"1000\r\n" + b" " * 4096 + b"\r\n" + b"10\r\n" + b" " * 16 + b"\r\n")
        status, headers = await head_of(reader)
        assert (status, headers["connection"]) == (413, "close")


@pytest.mark.parametrize("sent", [b"", b"GET / HTTP/1.1\r\nHost: a\r\nX-Slow: "])
async def test_a_head_that_does_not_come_is_not_waited_for(sent: bytes) -> None:
    world = World(port=0, drain_seconds=0.2, head_timeout_seconds=0.1)
    async with serving(world.app, world.settings) as served:
        assert await served.exchange(sent) == b""


async def test_an_endless_head_is_a_431() -> None:
    world = World(port=0, drain_seconds=0.2)
    async with serving(world.app, world.settings) as served:
        answer = await served.exchange(b"GET / HTTP/1.1\r\nHost: a\r\n" + b"X-Pad: " + b"a" * 100_000)
        assert answer.startswith(b"HTTP/1.1 431 ")


async def test_a_long_upload_is_not_taken_for_a_long_head() -> None:
    world = World(port=0, drain_seconds=0.2)
    async with serving(world.app, world.settings) as served, served.connect() as (reader, writer):
        for _ in range(3):
            body = {"image": "busybox", "args": ["x" * 60_000, "y" * 60_000]}
            writer.write(request_of("POST", "/v1/jobs", token=world.secret, body=body))
            status, headers = await head_of(reader)
            assert status == 201
            await reader.readexactly(int(headers["content-length"]))


@pytest.mark.parametrize(
    "request_bytes",
    [
        b"nonsense\r\n\r\n",
        b"GET /\xff\xfe HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: -1\r\n\r\n",
        b"POST /v1/jobs HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"GET /%zz HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
        b"GET //v1//jobs HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
        b"GET /v1/jobs?%ff=%fe HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
        b"GET /v1/jobs HTTP/1.1\r\nHost: a\r\nConnection: close\r\nAuthorization: Bearer \xff\r\n\r\n",
        b"BREW / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
        b"OPTIONS * HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
        b"GET http://evil.example/v1/jobs HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
    ],
)
async def test_broken_http_is_a_4xx(request_bytes: bytes) -> None:
    world = World(port=0, drain_seconds=0.2)
    async with serving(world.app, world.settings) as served:
        answer = await served.exchange(request_bytes)
        assert answer[9:10] == b"4", answer[:200]


async def test_what_a_client_sends_is_never_a_header_of_ours() -> None:
    world = World(port=0, drain_seconds=0.2)
    async with serving(world.app, world.settings) as served:
        request = request_of(
            "GET",
            "/v1/jobs?limit=1&queue=a%0d%0aX-Evil:%20yes",
            token=world.secret,
            Connection="close",
            X_Request_Id="ok",
            X_Forwarded_Host="evil.example",
        )
        for number in range(2):
            now = world.clock.now()
            job = Job(id=UUID(int=number), name="j", queue="a\r\nX-Evil: yes", created_at=now, due_at=now)
            world.store.jobs[job.id] = job
        head, _, body = (await served.exchange(request)).partition(b"\r\n\r\n")
        assert b'rel="next"' in head
        assert b"\r\nX-Evil" not in head
        assert b"evil.example" not in head + body


async def test_a_port_in_use_is_said_with_its_remedy() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        world = World(port=taken.getsockname()[1])
        with pytest.raises(ConfigurationError, match="KJR_PORT"):
            await web_server.run(world.app, world.settings, asyncio.Event(), lambda _url: None)
