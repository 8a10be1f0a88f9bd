"""The probe server of components without a web server."""

from __future__ import annotations

import asyncio
import dataclasses
import datetime as dt
import socket
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from kube_job_runner import ports
from kube_job_runner.components import probes
from kube_job_runner.domain.errors import ConfigurationError, DatabaseUnavailable
from kube_job_runner.services.readiness import Readiness
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


class FakeClock:
    seconds = 100.0

    def now(self) -> dt.datetime:
        return dt.datetime.fromtimestamp(self.seconds, dt.UTC)

    def monotonic(self) -> float:
        return self.seconds


class Server:
    def __init__(self) -> None:
        self.health = FakeHealth()
        self.stop = asyncio.Event()
        self.port = free_port()
        self.clock = FakeClock()
        self.silence: str | None = None
        readiness = Readiness(self.health, self.clock, {"watch-jobs": lambda: self.silence})
        self.task = asyncio.create_task(probes.run(readiness, host="127.0.0.1", port=self.port, stop=self.stop))

    async def get(self, request: bytes) -> tuple[int, str]:
        for _ in range(100):
            try:
                reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
                break
            except ConnectionRefusedError:
                await asyncio.sleep(0.01)
        writer.write(request.replace(b" HTTP/1.1\r\n", b" HTTP/1.1\r\nHost: 10.1.2.3:8081\r\n"))
        answer = (await reader.read()).decode()
        writer.close()
        await writer.wait_closed()
        return (int(answer[9:12]), answer.partition("\r\n\r\n")[2]) if answer else (0, "")


@pytest_asyncio.fixture
async def server() -> AsyncIterator[Server]:
    made = Server()
    yield made
    made.task.cancel()
    await asyncio.gather(made.task, return_exceptions=True)


async def test_live_ready_and_metrics(server: Server) -> None:
    assert await server.get(b"GET /livez HTTP/1.1\r\n\r\n") == (200, "ok\n")
    assert await server.get(b"GET /healthz HTTP/1.1\r\n\r\n") == (200, "ok\n")
    assert await server.get(b"GET /readyz HTTP/1.1\r\n\r\n") == (200, "ok\n")
    lines = "[+]draining ok\n[+]database ok\n[+]schema ok\n[+]watch-jobs ok\nready\n"
    assert await server.get(b"GET /readyz?verbose HTTP/1.1\r\n\r\n") == (200, lines)
    status, text = await server.get(b"GET /metrics HTTP/1.1\r\n\r\n")
    assert status == 200
    assert "kjr_messages_handled_total" in text
    assert 'kjr_ready{check="watch-jobs"} 1.0' in text


async def test_it_is_not_ready_without_its_database(server: Server) -> None:
    server.health.wrong = "no answer"
    status, text = await server.get(b"GET /readyz HTTP/1.1\r\n\r\n")
    assert (status, text.splitlines()[1]) == (503, "[-]database failed: no answer")
    server.health.error = DatabaseUnavailable("gone")
    server.clock.seconds += 1.5
    assert (await server.get(b"GET /readyz HTTP/1.1\r\n\r\n"))[0] == 503
    assert (await server.get(b"GET /livez HTTP/1.1\r\n\r\n"))[0] == 200, "liveness never asks the database"


async def test_a_silent_watch_and_a_stop_are_told_while_the_process_drains(server: Server) -> None:
    server.silence = "nothing heard for 700 s"
    status, text = await server.get(b"GET /readyz HTTP/1.1\r\n\r\n")
    assert (status, text.splitlines()[-2:]) == (503, ["[-]watch-jobs failed: nothing heard for 700 s", "not ready"])
    server.silence = None
    server.stop.set()
    status, text = await server.get(b"GET /readyz?verbose HTTP/1.1\r\n\r\n")
    assert (status, text.splitlines()[0]) == (503, "[-]draining failed: the process is stopping")
    assert (await server.get(b"GET /metrics HTTP/1.1\r\n\r\n"))[0] == 200, "a drain that hangs is to be seen"


@pytest.mark.parametrize("request_", [b"GET /other HTTP/1.1\r\n\r\n", b"nonsense\r\n\r\n"])
async def test_anything_else_is_not_found(server: Server, request_: bytes) -> None:
    assert (await server.get(request_))[0] == 404


async def test_a_head_that_is_too_long_is_cut_off(server: Server) -> None:
    assert (await server.get(b"GET /" + b"x" * 20_000 + b"\r\n\r\n"))[0] == 0
    assert (await server.get(b"GET /livez HTTP/1.1\r\n\r\n"))[0] == 200


async def test_a_connection_is_closed_after_its_time(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probes, "_DEADLINES", dataclasses.replace(probes._DEADLINES, life_seconds=0.1))
    assert await server.get(b"GET /livez HTTP/1.1\r\n") == (0, "")


async def test_a_port_in_use_is_said_with_its_remedy() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        readiness = Readiness(FakeHealth(), FakeClock())
        with pytest.raises(ConfigurationError, match="KJR_METRICS_PORT"):
            await probes.run(readiness, host="127.0.0.1", port=taken.getsockname()[1], stop=asyncio.Event())
