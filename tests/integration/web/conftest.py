"""The web server on a real socket, and raw connections to it."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Callable
from typing import Any

from kube_job_runner.components.web_server import run
from kube_job_runner.settings import Settings
from kube_job_runner.web.app import WebApp
from kube_job_runner.web.wire.connections import Deadlines


class Served:
    """A running server: where it listens, how to stop it, and its end."""

    def __init__(self, port: int, stop: asyncio.Event, task: asyncio.Task[None]) -> None:
        self.port = port
        self.stop = stop
        self.task = task

    @contextlib.asynccontextmanager
    async def connect(self) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        try:
            yield reader, writer
        finally:
            writer.close()
            with contextlib.suppress(ConnectionError):
                await writer.wait_closed()

    async def exchange(self, request: bytes) -> bytes:
        """Send bytes and return all that comes back until the server closes."""
        async with self.connect() as (reader, writer):
            writer.write(request)
            await writer.drain()
            return await asyncio.wait_for(reader.read(), 30)


@contextlib.asynccontextmanager
async def serving(app: WebApp, settings: Settings, *, deadlines: Deadlines | None = None) -> AsyncIterator[Served]:
    """Serve the application on a free port of loopback until the end of the block."""
    stop = asyncio.Event()
    urls: asyncio.Queue[str] = asyncio.Queue()
    task = asyncio.create_task(run(app, settings, stop, urls.put_nowait, deadlines=deadlines))
    url = await asyncio.wait_for(urls.get(), 30)
    served = Served(int(url.rpartition(":")[2]), stop, task)
    try:
        yield served
    finally:
        stop.set()
        await task


async def until(condition: Callable[[], bool]) -> None:
    """Wait for something that the server does by itself, at most 30 seconds."""
    async with asyncio.timeout(30):
        while not condition():  # noqa: ASYNC110 - the condition is a fact of the server, which signals nobody
            await asyncio.sleep(0.01)


async def head_of(reader: asyncio.StreamReader) -> tuple[int, dict[str, str]]:
    """Read the status and the headers of an answer."""
    text = (await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 30)).decode("latin-1")
    status, *lines = text.split("\r\n")
    headers = dict(line.lower().split(": ", 1) for line in lines if ": " in line)
    return int(status.split()[1]), headers


def request_of(method: str, path: str, *, token: str = "", body: Any = None, **headers: str) -> bytes:
    """Return the bytes of a request."""
    content = b"" if body is None else json.dumps(body).encode()
    lines = [
        f"{method} {path} HTTP/1.1",
        "Host: kjr.test",
        *(f"{k.replace('_', '-')}: {v}" for k, v in headers.items()),
    ]
    if token:
        lines.append(f"Authorization: Bearer {token}")
    if body is not None:
        lines += ["Content-Type: application/json", f"Content-Length: {len(content)}"]
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1") + content
