"""Connections that a client holds: each phase ends, and their number is limited. Raw sockets, short deadlines."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator
from typing import Any

import pytest

from kube_job_runner.web.wire.connections import Deadlines
from tests.integration.web.conftest import Served, head_of, request_of, serving, until
from tests.integration.web.test_server import ID, world_with_a_running_job
from tests.unit.web.conftest import World

pytestmark = pytest.mark.asyncio
SHORT = Deadlines(
    head_seconds=0.3, body_seconds=0.4, queued_seconds=0.5, idle_seconds=0.3, linger_seconds=0.2, write_seconds=0.5
)
JSON = "Content-Type: application/json"
POST = f"POST /v1/jobs HTTP/1.1\r\nHost: a\r\n{JSON}\r\n"
DOCUMENT = b"GET /openapi.json HTTP/1.1\r\nHost: a\r\n\r\n"
LIVE = b"GET /livez HTTP/1.1\r\nHost: a\r\n\r\n"


async def ended(reader: asyncio.StreamReader) -> bytes:
    """Return what comes until the server ends the connection, in either way; fail if it does not."""
    parts = []
    with contextlib.suppress(ConnectionError):
        async with asyncio.timeout(5):
            while part := await reader.read(65536):
                parts.append(part)
    return b"".join(parts)


async def drip(writer: asyncio.StreamWriter, part: bytes) -> None:
    """Send the same again and again, for at most 5 seconds."""
    async with asyncio.timeout(5):
        while True:
            writer.write(part)
            await writer.drain()
            await asyncio.sleep(0.02)


@pytest.mark.parametrize(
    ("head", "part"),
    [
        (f"{POST}Content-Length: 1000000\r\n\r\n", b"x"),
        (f"{POST}Transfer-Encoding: chunked\r\n\r\n", b"5\r\nab"),
        ("GET /livez HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n\r\n", b"x"),
        ("DELETE /v1/jobs HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n\r\n", b"x"),
        ("GET /nowhere HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n", b"1\r\n"),
    ],
)
async def test_a_request_that_is_answered_before_its_body_is_whole_ends_the_connection(head: str, part: bytes) -> None:
    world = World(port=0, drain_seconds=0.2)
    async with serving(world.app, world.settings, deadlines=SHORT) as served, served.connect() as (reader, writer):
        writer.write(head.encode())
        _status, headers = await head_of(reader)
        assert headers["connection"] == "close"
        await reader.readexactly(int(headers["content-length"]))
        writer.write(part)
        assert await reader.read() == b""  # the end of the answer
        with pytest.raises(ConnectionError):  # and soon the end of the connection
            await drip(writer, b"x")


async def test_the_answer_to_a_large_upload_can_be_read_while_it_is_still_sent() -> None:
    world = World(port=0, drain_seconds=0.2, body_max_bytes=4096)
    async with serving(world.app, world.settings) as served, served.connect() as (reader, writer):
        writer.write(request_of("POST", "/v1/jobs", token=world.secret, body={"image": "x" * 500_000}))
        status, headers = await head_of(reader)
        assert (status, headers["connection"]) == (413, "close")
        assert b'"code":"body-too-large"' in await ended(reader)


async def test_blank_lines_do_not_keep_a_connection_open() -> None:
    world = World(port=0, drain_seconds=0.2)
    async with serving(world.app, world.settings, deadlines=SHORT) as served, served.connect() as (reader, writer):
        writer.write(LIVE)
        await head_of(reader)
        dripping = asyncio.create_task(drip(writer, b"\r\n"))
        await ended(reader)
        dripping.cancel()
        await asyncio.gather(dripping, return_exceptions=True)


@pytest.mark.parametrize("sent", [LIVE, b"", b"GET /livez HTT", LIVE + b"GET /livez HTT"])
async def test_a_connection_that_says_nothing_more_is_closed(sent: bytes) -> None:
    world = World(port=0, drain_seconds=0.2)
    async with serving(world.app, world.settings, deadlines=SHORT) as served, served.connect() as (reader, writer):
        writer.write(sent)
        await ended(reader)


@contextlib.asynccontextmanager
async def deaf(served: Served, request: bytes) -> AsyncIterator[socket.socket]:
    """A client that sends requests and reads nothing."""
    with socket.socket() as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client.setblocking(False)
        loop = asyncio.get_running_loop()
        await loop.sock_connect(client, ("127.0.0.1", served.port))
        with contextlib.suppress(ConnectionError):
            await loop.sock_sendall(client, request)
        yield client


async def was_reset(client: socket.socket) -> None:
    """Wait until the server has cut the connection; nothing is read meanwhile."""
    async with asyncio.timeout(5):
        while client.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) == 0:
            with contextlib.suppress(BlockingIOError):
                try:
                    client.send(b"\r\n")
                except ConnectionError:
                    return
            await asyncio.sleep(0.02)


async def test_a_client_that_takes_nothing_of_its_answers_is_cut_off() -> None:
    world = World(port=0, drain_seconds=0.2)
    async with serving(world.app, world.settings, deadlines=SHORT) as served, deaf(served, DOCUMENT * 60) as client:
        await was_reset(client)


async def test_a_client_that_takes_nothing_of_a_log_is_cut_off_and_its_stream_ends() -> None:
    world = world_with_a_running_job(drain_seconds=0.2)
    world.logs.logs.clear()
    world.logs.chunk_bytes = 262_144
    for _ in range(40):
        world.logs.print(ID, b"x" * 262_143 + b"\n")
    async with serving(world.app, world.settings, deadlines=SHORT) as served:
        request = request_of("GET", f"/v1/jobs/{ID}/logs?follow=true", token=world.secret)
        async with deaf(served, request) as client:
            await was_reset(client)
        await until(lambda: world.app.app.in_flight == 0)


async def test_a_slow_reader_that_takes_something_is_not_cut_off() -> None:
    world = world_with_a_running_job(drain_seconds=0.2)
    world.logs.logs.clear()
    world.logs.chunk_bytes = 262_144
    for _ in range(20):
        world.logs.print(ID, b"x" * 262_143 + b"\n")
    world.logs.print(ID, status="stored")
    async with serving(world.app, world.settings, deadlines=SHORT) as served, served.connect() as (reader, writer):
        writer.write(request_of("GET", f"/v1/jobs/{ID}/logs?follow=true", token=world.secret, Connection="close"))
        size = 0
        async with asyncio.timeout(30):
            while part := await reader.read(300_000):
                size += len(part)
                await asyncio.sleep(0.05)
        assert size > 20 * 262_144


async def test_a_stop_does_not_wait_for_a_client_that_takes_nothing() -> None:
    world = World(port=0, drain_seconds=0.5)
    async with serving(world.app, world.settings) as served, deaf(served, DOCUMENT * 60) as client:
        await asyncio.sleep(0.1)
        served.stop.set()
        async with asyncio.timeout(5):
            await served.task
        await was_reset(client)


async def test_a_stream_ends_with_its_connection_also_when_a_request_was_pipelined_behind_it() -> None:
    world = world_with_a_running_job(drain_seconds=0.2)
    follow = request_of("GET", f"/v1/jobs/{ID}/logs?follow=true", token=world.secret)
    async with serving(world.app, world.settings, deadlines=SHORT) as served, served.connect() as (reader, writer):
        writer.write(follow + LIVE)
        await head_of(reader)
        await ended(reader)  # the deadline of what waits behind it
        await until(lambda: world.app.app.in_flight == 0)


async def test_requests_that_are_pipelined_are_answered_in_order_and_their_number_is_limited() -> None:
    world = World(port=0, drain_seconds=0.2)
    last = b"GET /livez HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
    async with serving(world.app, world.settings) as served:
        assert (await served.exchange(LIVE * 20 + last)).count(b"HTTP/1.1 200 OK") == 21
        answer = await served.exchange(LIVE * 2000)
        assert answer.count(b"HTTP/1.1 ") < 100


async def test_what_is_no_request_does_not_get_into_an_answer_that_is_being_sent() -> None:
    world = world_with_a_running_job(drain_seconds=0.2)
    world.logs.print(ID, status="stored")
    follow = request_of("GET", f"/v1/jobs/{ID}/logs?follow=true", token=world.secret)
    async with serving(world.app, world.settings) as served:
        answer = await served.exchange(follow + b"garbage\r\n\r\n")
        assert answer.startswith(b"HTTP/1.1 200 OK")
        assert answer.endswith(b"0\r\n\r\n")
        assert answer.count(b"HTTP/1.1") == 1


async def poll(served: Served, world: World) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """Return a connection that is busy with a long poll."""
    reader, writer = await asyncio.open_connection("127.0.0.1", served.port)
    writer.write(request_of("GET", f"/v1/jobs/{ID}?wait=60s&since=3", token=world.secret))
    return reader, writer


async def test_at_the_limit_the_connection_that_waited_longest_makes_room() -> None:
    world = World(port=0, drain_seconds=0.2, connections_max=8, connections_per_peer_max=6)
    async with serving(world.app, world.settings) as served, contextlib.AsyncExitStack() as stack:
        opened = []
        for _ in range(20):
            reader, writer = await stack.enter_async_context(served.connect())
            writer.write(LIVE)
            status, headers = await head_of(reader)
            await reader.readexactly(int(headers["content-length"]))
            assert status == 200
            opened.append(reader)
        for reader in opened[:14]:
            assert await ended(reader) == b""
        assert not any(reader.at_eof() for reader in opened[14:])


async def test_when_all_connections_work_only_probes_are_answered() -> None:
    world = world_with_a_running_job(drain_seconds=0.2, connections_max=8, connections_per_peer_max=6)
    async with serving(world.app, world.settings) as served:
        busy = [await poll(served, world) for _ in range(6)]
        await until(lambda: world.app._hub.waiting == 6)
        held = [await asyncio.open_connection("127.0.0.1", served.port) for _ in range(100)]
        for path in ("/livez", "/readyz"):
            assert b" 200 OK" in await served.exchange(request_of("GET", path))
        answer = await served.exchange(request_of("GET", "/v1/jobs", token=world.secret))
        assert answer.startswith(b"HTTP/1.1 503 ")
        assert b'"code":"too-many-connections"' in answer
        assert b"retry-after: 1\r\n" in answer
        for _reader, writer in (*busy, *held):
            writer.close()
        await until(lambda: world.app._hub.waiting == 0)
        assert b" 200 OK" in await served.exchange(
            request_of("GET", "/v1/jobs", token=world.secret, Connection="close")
        )


async def test_one_peer_does_not_take_the_room_of_another() -> None:
    world = world_with_a_running_job(drain_seconds=0.2, connections_max=8, connections_per_peer_max=6)
    async with serving(world.app, world.settings) as served:
        busy = [await poll(served, world) for _ in range(6)]
        await until(lambda: world.app._hub.waiting == 6)
        other: Any = await asyncio.open_connection("127.0.0.1", served.port, local_addr=("127.0.0.2", 0))
        other[1].write(request_of("GET", "/v1/jobs", token=world.secret))
        assert (await head_of(other[0]))[0] == 200
        for _reader, writer in (*busy, other):
            writer.close()


async def test_a_chunked_body_of_extensions_is_refused() -> None:
    world = World(port=0, drain_seconds=0.2)
    head = request_of(
        "POST", "/v1/jobs", token=world.secret, Content_Type="application/json", Transfer_Encoding="chunked"
    )
    async with serving(world.app, world.settings) as served:
        answer = await served.exchange(head + b"2;" + b"x" * 300_000 + b"\r\n{}\r\n0\r\n\r\n")
        assert answer.startswith(b"HTTP/1.1 400 ")
        for size in (b"1", b"2"):
            chunks = b"".join(size + b"\r\n" + b" " * int(size) + b"\r\n" for _ in range(50_000))
            answer = await served.exchange(head + chunks + b"0\r\n\r\n" + request_of("GET", "/", Connection="close"))
            assert b'"code":"malformed-json"' in answer


HOST = b"Host: a\r\n"
REFUSED = {
    "no Host": (b"GET /livez HTTP/1.1\r\n\r\n", 400),
    "an empty Host": (b"GET /livez HTTP/1.1\r\nHost:\r\n\r\n", 400),
    "two Hosts": (b"GET /livez HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", 400),
    "the same Host twice": (b"GET /livez HTTP/1.1\r\nHost: a\r\nhost: a\r\n\r\n", 400),
    "two Hosts in one": (b"GET /livez HTTP/1.1\r\nHost: a, b\r\n\r\n", 400),
    "a Host with a path": (b"GET /livez HTTP/1.1\r\nHost: a/b\r\n\r\n", 400),
    "a Host with a user": (b"GET /livez HTTP/1.1\r\nHost: u@a\r\n\r\n", 400),
    "another host in the target": (b"GET http://evil.example/livez HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    "HTTP/0.9": (b"GET /livez\r\n\r\n", 505),
    "HTTP/0.9 in words": (b"GET /livez HTTP/0.9\r\n\r\n", 505),
    "HTTP/2": (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400),
    "HTTP/1.2": (b"GET /livez HTTP/1.2\r\n" + HOST + b"\r\n", 400),
    "no target": (b"GET  HTTP/1.1\r\n" + HOST + b"\r\n", 400),
    "CONNECT": (b"CONNECT a:443 HTTP/1.1\r\nHost: a:443\r\n\r\n", 400),
    "both lengths": (
        b"POST /v1/jobs HTTP/1.1\r\n" + HOST + b"Content-Length: 6\r\nTransfer-Encoding: chunked\r\n\r\n",
        400,
    ),
    "two lengths": (b"POST /v1/jobs HTTP/1.1\r\n" + HOST + b"Content-Length: 2\r\nContent-Length: 3\r\n\r\n{}", 400),
    "another coding": (b"POST /v1/jobs HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n", 400),
    "chunks in HTTP/1.0": (b"POST /v1/jobs HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
    "a folded line": (b"GET /livez HTTP/1.1\r\n" + HOST + b"X: a\r\n b\r\n\r\n", 400),
    "line feeds only": (b"GET /livez HTTP/1.1\nHost: a\n\n", 400),
    "a blank before the colon": (b"GET /livez HTTP/1.1\r\nHost : a\r\n\r\n", 400),
    "two tokens": (
        b"GET /livez HTTP/1.1\r\n" + HOST + b"Authorization: Bearer a\r\nAuthorization: Bearer b\r\n\r\n",
        400,
    ),
    "5,000 headers": (
        b"GET /livez HTTP/1.1\r\n" + HOST + b"".join(b"X%d: y\r\n" % n for n in range(5000)) + b"\r\n",
        431,
    ),
}


@pytest.mark.parametrize("name", REFUSED)
async def test_a_head_that_could_be_read_in_two_ways_is_refused_and_closes(name: str) -> None:
    request, status = REFUSED[name]
    world = World(port=0, drain_seconds=0.2)
    async with serving(world.app, world.settings) as served:
        answer = await served.exchange(request + LIVE)
        assert answer.startswith(b"HTTP/1.1 %d " % status), answer[:300]
        assert answer.count(b"HTTP/1.1 ") == 1  # what follows is not taken for a request
        assert b"connection: close\r\n" in answer


@pytest.mark.parametrize("host", [b"a", b"a.b.example:8080", b"127.0.0.1:1", b"[::1]:8080", b"[fe80::1]", b"my_host"])
async def test_a_usual_host_is_accepted(host: bytes) -> None:
    world = World(port=0, drain_seconds=0.2)
    async with serving(world.app, world.settings) as served:
        request = b"GET /livez HTTP/1.1\r\nHost: " + host + b"\r\nConnection: close\r\n\r\n"
        assert (await served.exchange(request)).startswith(b"HTTP/1.1 200 ")
        assert (await served.exchange(b"GET /livez HTTP/1.0\r\n\r\n")).startswith(b"HTTP/1.1 200 ")


async def test_an_upgrade_is_ignored_and_what_follows_is_no_request() -> None:
    world = World(port=0, drain_seconds=0.2)
    upgrade = b"GET /livez HTTP/1.1\r\nHost: a\r\nUpgrade: h2c\r\nConnection: Upgrade, HTTP2-Settings\r\n\r\n"
    async with serving(world.app, world.settings) as served:
        answer = await served.exchange(upgrade + LIVE)
        assert answer.startswith(b"HTTP/1.1 200 ")
        assert answer.count(b"HTTP/1.1 ") == 1
