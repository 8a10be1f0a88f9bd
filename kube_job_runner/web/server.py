"""The HTTP server: uvicorn with additional limits, and with a bounded shutdown."""

import asyncio
import contextlib
import socket
from asyncio import TimerHandle
from collections.abc import AsyncIterator, Iterator
from typing import Any

import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from kube_job_runner.domain.errors import ConfigurationError
from kube_job_runner.telemetry import loggers

_HEAD_MAX_BYTES = 64 * 1024
_HEAD_TIMEOUT_SECONDS = 15.0
_KEEP_ALIVE_SECONDS = 75
_PROBE_MAX_BYTES = 8 * 1024
_PROBE_SECONDS = 5.0
_ANNOUNCE_SECONDS = 0.5

log = loggers.get_logger(__name__)


class ApiProtocol(HttpToolsProtocol):
    """The protocol of the API: the head of a request is limited in bytes and in time."""

    _head_bytes = 0
    _head_deadline: TimerHandle | None = None

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        self._await_head()

    def connection_lost(self, exc: Exception | None) -> None:
        self._head_done()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        self._head_bytes += len(data)
        super().data_received(data)
        if self._head_deadline is not None and self._head_bytes > _HEAD_MAX_BYTES and not self.transport.is_closing():
            self.transport.write(
                b"HTTP/1.1 431 Request Header Fields Too Large\r\nconnection: close\r\ncontent-length: 0\r\n\r\n"
            )
            self.transport.close()

    def on_message_begin(self) -> None:
        super().on_message_begin()
        if self._head_deadline is None:
            self._await_head()

    def on_headers_complete(self) -> None:
        self._head_done()
        super().on_headers_complete()

    def _await_head(self) -> None:
        self._head_bytes = 0
        self._head_deadline = self.loop.call_later(_HEAD_TIMEOUT_SECONDS, self._head_is_late)

    def _head_done(self) -> None:
        if self._head_deadline is not None:
            self._head_deadline.cancel()
            self._head_deadline = None

    def _head_is_late(self) -> None:
        self._head_deadline = None
        if not self.transport.is_closing():
            self.transport.close()


class ProbeProtocol(HttpToolsProtocol):
    """The protocol of probes: a connection is limited in bytes and in time as a whole, and broken HTTP is a 404."""

    _seen_bytes = 0
    _deadline: TimerHandle | None = None

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        self._deadline = self.loop.call_later(_PROBE_SECONDS, transport.close)

    def connection_lost(self, exc: Exception | None) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        self._seen_bytes += len(data)
        if self._seen_bytes > _PROBE_MAX_BYTES:
            self.transport.close()
        else:
            super().data_received(data)

    def send_400_response(self, msg: str) -> None:
        self.transport.write(b"HTTP/1.1 404 Not Found\r\nconnection: close\r\ncontent-length: 0\r\n\r\n")
        self.transport.close()


class _Server(uvicorn.Server):
    """uvicorn without its signal handlers: the process has its own."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.listening = asyncio.Event()
        self.servers = []

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.listening.set()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


class Serving:
    """A server that listens. `task` ends when the server has ended, or raises what ended it."""

    def __init__(self, server: _Server, task: asyncio.Task[None], *, url: str, port: int) -> None:
        self._server = server
        self.task = task
        self.url = url
        self.port = port

    async def end(self, *, drain_seconds: float) -> None:
        """Close the listener, wait for the requests in flight, and cut off those that are not done after `drain_seconds`.

        The listener stays for a moment after /readyz began to answer 503, so that nobody sends new requests by then.
        """
        deadline = asyncio.get_running_loop().time() + drain_seconds
        await asyncio.wait([self.task], timeout=min(_ANNOUNCE_SECONDS, drain_seconds / 4))
        self._server.should_exit = True
        await asyncio.wait([self.task], timeout=max(0.0, deadline - asyncio.get_running_loop().time()))
        if self.task.done():
            self.task.result()
            return
        in_flight = list(self._server.server_state.tasks)
        log.warning("requests were cut off", action="http.drain", in_flight=len(in_flight))
        self._server.force_exit = True
        for task in in_flight:
            task.cancel()


@contextlib.asynccontextmanager
async def serve(
    app: ASGIApp, *, host: str, port: int, protocol: type[HttpToolsProtocol] = ApiProtocol, setting: str = "KJR_PORT"
) -> AsyncIterator[Serving]:
    """Serve an application inside the block. `setting` names the port in the error.

    Raises:
        ConfigurationError: the server cannot listen on the address.
    """
    listener = _listen(host, port, setting)
    config = uvicorn.Config(
        app,
        http=protocol,
        ws="none",
        lifespan="off",
        interface="asgi3",
        access_log=False,
        log_config=None,
        server_header=False,
        proxy_headers=False,
        timeout_keep_alive=_KEEP_ALIVE_SECONDS,
    )
    server = _Server(config)
    task = asyncio.create_task(server.serve(sockets=[listener]), name="http-server")
    listening = asyncio.create_task(server.listening.wait())
    try:
        await asyncio.wait([listening, task], return_when=asyncio.FIRST_COMPLETED)
        if not listening.done():
            await task
        bound_port = listener.getsockname()[1]
        yield Serving(server, task, url=_url(host, bound_port), port=bound_port)
    finally:
        for pending in (listening, task):
            pending.cancel()
        await asyncio.gather(listening, task, return_exceptions=True)
        for each in server.servers:
            each.close()
        listener.close()


def _listen(host: str, port: int, setting: str) -> socket.socket:
    bare = host.strip("[]")
    try:
        family, *_, address = socket.getaddrinfo(bare, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
        return socket.create_server(address[:2], family=family, backlog=2048)
    except OSError as error:
        remedy = f"choose another {setting} (0 takes a free one)" if port else "check KJR_HOST"
        raise ConfigurationError(f"cannot listen on {host}:{port}: {error.strerror or error}; {remedy}") from error


def _url(host: str, port: int) -> str:
    bare = host.strip("[]")
    shown = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(bare, f"[{bare}]" if ":" in bare else bare)  # noqa: S104
    return f"http://{shown}:{port}"
