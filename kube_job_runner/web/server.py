"""The HTTP server: uvicorn with additional limits, and with a bounded shutdown."""

import asyncio
import contextlib
import dataclasses
import socket
from collections.abc import AsyncIterator, Iterator

import uvicorn
from starlette.types import ASGIApp

from kube_job_runner.domain.errors import ConfigurationError
from kube_job_runner.telemetry import loggers
from kube_job_runner.web.wire import descriptors
from kube_job_runner.web.wire.connections import Caps, Deadlines, Room
from kube_job_runner.web.wire.protocol import ApiProtocol, factory

_KEEP_ALIVE_SECONDS = 3600  # uvicorn's own timer; the room's comes first
_ANNOUNCE_SECONDS = 0.5
DEADLINES = Deadlines()

log = loggers.get_logger(__name__)


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
    app: ASGIApp,
    *,
    host: str,
    port: int,
    protocol: type[ApiProtocol] = ApiProtocol,
    deadlines: Deadlines = DEADLINES,
    caps: Caps | None = None,
    setting: str = "KJR_PORT",
) -> AsyncIterator[Serving]:
    """Serve an application inside the block. `setting` names the port in the error.

    The number of connections stays below the limit of open files, which is raised first if it can be.

    Raises:
        ConfigurationError: the server cannot listen on the address.
    """
    listener = _listen(host, port, setting)
    _bound_writes(listener, deadlines)
    room = Room(deadlines, within_descriptors(caps or Caps()))
    config = uvicorn.Config(
        app,
        http=factory(protocol, room),
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
        async with room.watched():
            yield Serving(server, task, url=_url(host, bound_port), port=bound_port)
    finally:
        for pending in (listening, task):
            pending.cancel()
        await asyncio.gather(listening, task, return_exceptions=True)
        for each in server.servers:
            each.close()
        listener.close()


def within_descriptors(caps: Caps) -> Caps:
    """Return these caps, lowered so that connections stay below the limit of open files."""
    total = descriptors.connections_max(caps.total, limit=descriptors.raise_limit())
    if total < caps.total:
        log.warning(
            "fewer connections than configured: the limit of open files is low",
            action="http.connections",
            configured=caps.total,
            connections=total,
        )
    return dataclasses.replace(caps, total=total, per_peer=min(caps.per_peer, max(4, total * 3 // 4)))


def _bound_writes(listener: socket.socket, deadlines: Deadlines) -> None:
    """Let the kernel end what it sends in vain, also for a connection that we have closed. Connections inherit it."""
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    if hasattr(socket, "TCP_USER_TIMEOUT"):
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, int(deadlines.write_seconds * 1000))


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
