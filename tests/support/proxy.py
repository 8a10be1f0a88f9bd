"""A TCP proxy between the product and a server that can break connections as networks do.

`pass`: everything goes through. `swallow`: connections are accepted and stay open, but nothing goes through. Those that were
open at that time stay dead, as behind a firewall that has forgotten them. `reset`: all connections are reset.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
import threading
from pathlib import Path
from types import TracebackType
from typing import Literal

from tests.support.loops import end_others

Mode = Literal["pass", "swallow", "reset"]
_LINGER_OFF = struct.pack("ii", 1, 0)  # a close sends RST


class Proxy:
    """Forwards from a free port of loopback to a port of it, or to a Unix socket; in a thread of its own."""

    def __init__(self, target: int | Path) -> None:
        self.target = target
        self.port = 0
        self.connections = 0
        """How many have been accepted."""
        self.swallowed_bytes = 0
        self._mode: Mode = "pass"
        self._links: set[_Link] = set()
        self._loop = asyncio.new_event_loop()
        self._stop = asyncio.Event()
        self._started = threading.Event()
        self._thread = threading.Thread(target=lambda: self._loop.run_until_complete(self._serve()), daemon=True)

    def __enter__(self) -> Proxy:
        self._thread.start()
        assert self._started.wait(10)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(10)
        self._loop.close()

    @property
    def away(self) -> bool:
        """Whether nothing goes through."""
        return self._mode != "pass"

    def set_mode(self, mode: Mode) -> None:
        """Change what happens to connections; return when it does."""
        asyncio.run_coroutine_threadsafe(self._change(mode), self._loop).result(10)

    async def _change(self, mode: Mode) -> None:
        self._mode = mode
        if mode == "pass":
            return
        for link in list(self._links):
            link.dead = True
            if mode == "reset":
                link.reset()

    async def _serve(self) -> None:
        server = await asyncio.start_server(self._accepted, "127.0.0.1", 0)
        self.port = int(server.sockets[0].getsockname()[1])
        self._started.set()
        await self._stop.wait()
        server.close()
        for link in list(self._links):
            link.reset()
        await end_others()

    async def _accepted(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        link = _Link(writer)
        self._links.add(link)
        link.dead = self.away
        try:
            if self._mode == "reset":
                return
            if link.dead:
                await self._pump(reader, None, link)
                return
            other_reader, other_writer = await self._connect()
            link.writers.append(other_writer)
            if self.away:  # it came about while we connected
                link.dead = True
            await asyncio.gather(self._pump(reader, other_writer, link), self._pump(other_reader, writer, link))
        except OSError:
            pass
        finally:
            link.reset()
            self._links.discard(link)

    async def _connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        if isinstance(self.target, Path):
            return await asyncio.open_unix_connection(str(self.target))
        return await asyncio.open_connection("127.0.0.1", self.target)

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter | None, link: _Link) -> None:
        """Move bytes one way until that side ends; on a dead link only the client's end is noticed."""
        try:
            while data := await reader.read(65536):
                if link.dead or writer is None:
                    self.swallowed_bytes += len(data)
                    continue
                writer.write(data)
                await writer.drain()
        except OSError:
            pass
        if link.dead and writer is link.writers[0]:  # the server's end does not come through either
            return
        for each in link.writers:
            each.close()


class _Link:
    """One connection: the client's side first, then the server's."""

    def __init__(self, client: asyncio.StreamWriter) -> None:
        self.writers = [client]
        self.dead = False

    def reset(self) -> None:
        """Reset both sides."""
        for writer in self.writers:
            made = writer.get_extra_info("socket")
            if made is not None and made.family != socket.AF_UNIX:
                with contextlib.suppress(OSError):
                    made.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_OFF)
            writer.transport.abort()
