"""The probe server of components without a web server."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from kube_job_runner import ports
from kube_job_runner.components import probes
from kube_job_runner.domain.errors import DatabaseUnavailable
from tests.support.product import free_port

pytestmark = pytest.mark.asyncio


class FakeHealth:
    def __init__(self) -> None:
        self.wrong: str | None = None
        self.error: Exception | None = None

    async def check(self) -> dict[str, str | None]:
        if self.error is not None:
            raise self.error
        return {"database": self.wrong, "schema": None}

    async def depth(self) -> ports.QueueDepth:
        return ports.QueueDepth(jobs_by_state={}, messages=0, oldest_message_seconds=0.0, dead_letters=0)


class Server:
    def __init__(self) -> None:
        self.health = FakeHealth()
        self.stop = asyncio.Event()
        self.port = free_port()
        self.task = asyncio.create_task(probes.run(self.health, host="127.0.0.1", port=self.port, stop=self.stop))

    async def get(self, request: bytes) -> tuple[int, str]:
        for _ in range(100):
            try:
                reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
                break
            except ConnectionRefusedError:
                await asyncio.sleep(0.01)
        writer.write(request)
        answer = (await reader.read()).decode()
        writer.close()
        await writer.wait_closed()
        return (int(answer[9:12]), answer.partition("\r\n\r\n")[2]) if answer else (0, "")


@pytest_asyncio.fixture
async def server() -> AsyncIterator[Server]:
    made = Server()
    yield made
    made.stop.set()
    await made.task


async def test_live_ready_and_metrics(server: Server) -> None:
    assert await server.get(b"GET /livez HTTP/1.1\r\n\r\n") == (200, "ok\n")
    assert await server.get(b"GET /readyz?verbose HTTP/1.1\r\n\r\n") == (200, "[+]database ok\n[+]schema ok\n")
    status, text = await server.get(b"GET /metrics HTTP/1.1\r\n\r\n")
    assert status == 200
    assert "kjr_messages_handled_total" in text


async def test_it_is_not_ready_without_its_database(server: Server) -> None:
    server.health.wrong = "no answer"
    status, text = await server.get(b"GET /readyz HTTP/1.1\r\n\r\n")
    assert (status, text.splitlines()[0]) == (503, "[-]database no answer")
    server.health.error = DatabaseUnavailable("gone")
    assert (await server.get(b"GET /readyz HTTP/1.1\r\n\r\n"))[0] == 503
    assert (await server.get(b"GET /livez HTTP/1.1\r\n\r\n"))[0] == 200, "liveness never asks the database"


@pytest.mark.parametrize("request_", [b"GET /other HTTP/1.1\r\n\r\n", b"nonsense\r\n\r\n"])
async def test_anything_else_is_not_found(server: Server, request_: bytes) -> None:
    assert (await server.get(request_))[0] == 404


async def test_a_head_that_is_too_long_is_cut_off(server: Server) -> None:
    assert (await server.get(b"GET /" + b"x" * 20_000 + b"\r\n\r\n"))[0] == 0
    assert (await server.get(b"GET /livez HTTP/1.1\r\n\r\n"))[0] == 200
