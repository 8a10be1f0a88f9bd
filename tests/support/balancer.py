"""A small Kubernetes Service: new connections to its address go to the backends that were ready at the last check."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import threading
from collections.abc import Iterator
from urllib.parse import urlsplit

from tests.support.loops import end_others

PROBE_SECONDS = 0.1


class Balancer:
    """Forwards TCP connections, in its own thread. `backends` may change at any time; each is checked at /readyz."""

    def __init__(self) -> None:
        self.backends: list[str] = []
        self.url = ""
        self._ready: list[tuple[str, int]] = []
        self._turns = itertools.count()
        self._loop = asyncio.new_event_loop()
        self._stop = asyncio.Event()
        self._started = threading.Event()
        self._thread = threading.Thread(target=lambda: self._loop.run_until_complete(self._serve()))

    def __enter__(self) -> Balancer:
        self._thread.start()
        assert self._started.wait(10)
        return self

    def __exit__(self, *exception: object) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(10)
        self._loop.close()

    @property
    def ready(self) -> int:
        """How many backends are ready."""
        return len(self._ready)

    async def _serve(self) -> None:
        server = await asyncio.start_server(self._forward, "127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        self._started.set()
        async with server:
            while not self._stop.is_set():
                places = [(str(urlsplit(url).hostname), int(urlsplit(url).port or 0)) for url in self.backends]
                answers = await asyncio.gather(*(_is_ready(*place) for place in places))
                self._ready = [place for place, ready in zip(places, answers, strict=True) if ready]
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._stop.wait(), PROBE_SECONDS)
        await end_others()

    async def _forward(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        # Refused, or no backend is ready: close at once. A cancel at the end must not be logged as a fault.
        passing = (OSError, IndexError, ZeroDivisionError, asyncio.CancelledError)
        with contextlib.closing(writer), contextlib.suppress(*passing):
            ready = self._ready
            backend_reader, backend_writer = await asyncio.open_connection(*ready[next(self._turns) % len(ready)])
            await asyncio.gather(_pump(reader, backend_writer), _pump(backend_reader, writer))


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.closing(writer), contextlib.suppress(OSError):
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()


async def _is_ready(host: str, port: int) -> bool:
    try:
        async with asyncio.timeout(2):
            reader, writer = await asyncio.open_connection(host, port)
            writer.write(b"GET /readyz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
            line = await reader.readline()
            writer.close()
    except (OSError, TimeoutError):
        return False
    return b" 200 " in line


@contextlib.contextmanager
def balancing(*backends: str) -> Iterator[Balancer]:
    """A balancer over these URLs."""
    with Balancer() as balancer:
        balancer.backends = list(backends)
        yield balancer
