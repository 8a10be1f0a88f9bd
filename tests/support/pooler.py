"""A transaction pooler in front of PostgreSQL, as PgBouncer with `pool_mode=transaction`: all clients share one session."""

from __future__ import annotations

import asyncio
import contextlib
import struct
import urllib.parse
from collections.abc import AsyncIterator

_SSL_REQUEST = 80877103
_HELLO = b"R\x00\x00\x00\x08\x00\x00\x00\x00"
"""Authentication is not needed."""
_READY = b"Z\x00\x00\x00\x05I"


class _Pooler:
    def __init__(self, socket: str) -> None:
        self._socket = socket
        self._free = asyncio.Lock()
        self._server: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None
        self._greeting = b""

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one client; it has the session from the first message of a transaction to its end."""
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            startup = await _startup(reader, writer)
            async with self._free:
                await self._connect(startup)
            writer.write(self._greeting)
            while True:
                message = await _message(reader)
                if message[:1] == b"X":
                    break
                async with self._free:
                    await self._transaction(message, reader, writer)
        await _closed(writer)

    async def close(self) -> None:
        """End the session."""
        if self._server is not None:
            await _closed(self._server[1])

    async def _connect(self, startup: bytes) -> None:
        if self._server is None:
            self._server = await asyncio.open_unix_connection(self._socket)
            self._server[1].write(startup)
            while not self._greeting.endswith(_READY):
                self._greeting += await _message(self._server[0])

    async def _transaction(self, message: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        assert self._server is not None
        from_server, to_server = self._server
        while True:
            to_server.write(message)
            while message[:1] not in (b"Q", b"S", b"H"):
                message = await _message(reader)
                to_server.write(message)
            # A flush comes after the description of a statement is asked for.
            last = (b"T", b"n", b"E") if message[:1] == b"H" else (b"Z",)
            answer = b""
            while answer[:1] not in last:
                answer = await _message(from_server)
                writer.write(answer)
            if answer == _READY:
                return
            message = await _message(reader)


async def _closed(writer: asyncio.StreamWriter) -> None:
    writer.close()
    with contextlib.suppress(ConnectionError):
        await writer.wait_closed()


async def _startup(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bytes:
    while True:
        size = await reader.readexactly(4)
        rest = await reader.readexactly(struct.unpack("!I", size)[0] - 4)
        if struct.unpack("!I", rest[:4])[0] != _SSL_REQUEST:
            return size + rest
        writer.write(b"N")


async def _message(reader: asyncio.StreamReader) -> bytes:
    head = await reader.readexactly(5)
    return head + await reader.readexactly(struct.unpack("!I", head[1:])[0] - 4)


@contextlib.asynccontextmanager
async def transaction_pooler(url: str) -> AsyncIterator[str]:
    """Run a pooler in front of the embedded server of that URL; yields the URL that leads through it."""
    parts = urllib.parse.urlsplit(url)
    where = urllib.parse.parse_qs(parts.query)
    pooler = _Pooler(f"{where['host'][0]}/.s.PGSQL.{where['port'][0]}")
    clients: list[asyncio.Task[None]] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        clients.append(asyncio.current_task())  # type: ignore[arg-type]
        await pooler.serve(reader, writer)

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with server:
        yield urllib.parse.urlunsplit(parts._replace(netloc=f"{parts.username}@127.0.0.1:{port}", query=""))
        await asyncio.gather(*clients)
        await pooler.close()
