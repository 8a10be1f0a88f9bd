"""web-server: takes job requests, stores them, and answers for their status.

`build_app` wires the API from ports; `run` serves it until it is told to stop, and then ends within a bound, however many
long polls and log streams are open: they are told first, and end by themselves.
"""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import socket
from asyncio import TimerHandle
from collections.abc import Awaitable, Callable, Iterator
from typing import Any
from uuid import UUID

import uvicorn
from starlette.types import Receive, Scope, Send
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

import kube_job_runner
from kube_job_runner.domain import failures
from kube_job_runner.domain.decide.admission import DEFAULT_LIMITS, AdmissionLimits
from kube_job_runner.domain.errors import ConfigurationError
from kube_job_runner.domain.failures import Table
from kube_job_runner.domain.spec.check import SpecLimits
from kube_job_runner.ports import (
    Clock,
    Health,
    LogKey,
    LogReader,
    RecordReader,
    SubmitStore,
    TokenStore,
    Tracer,
    Wakeup,
)
from kube_job_runner.services.evidence import LastLines
from kube_job_runner.services.explainer import Explainer
from kube_job_runner.services.log_reading import LogService
from kube_job_runner.services.read import ChangeHub
from kube_job_runner.services.readiness import Readiness
from kube_job_runner.services.simulator import Simulator
from kube_job_runner.services.submitter import Submitter
from kube_job_runner.settings import Settings
from kube_job_runner.telemetry import loggers, metrics
from kube_job_runner.web import auth
from kube_job_runner.web.api import operations, problems, record_operations
from kube_job_runner.web.api.jobs import JobsApi
from kube_job_runner.web.api.policies import PoliciesApi
from kube_job_runner.web.api.records import RecordsApi
from kube_job_runner.web.api.reruns import RerunApi
from kube_job_runner.web.api.submits import SubmitApi
from kube_job_runner.web.api.system import SystemApi
from kube_job_runner.web.kit.app import App, Limits

_HEAD_MAX_BYTES = 64 * 1024
_HEAD_TIMEOUT_SECONDS = 15.0
_KEEP_ALIVE_SECONDS = 75.0
_ANNOUNCE_SECONDS = 0.5
_HEADERS = (
    (b"x-kjr-version", kube_job_runner.__version__.encode()),
    (b"x-content-type-options", b"nosniff"),
    (b"cache-control", b"no-store"),
    (b"referrer-policy", b"no-referrer"),
)


class WebApp:
    """The ASGI application, with the parts of it that have to be ended when the server stops."""

    def __init__(self, app: App, *, submitter: Submitter, hub: ChangeHub[UUID], log_hub: ChangeHub[LogKey]) -> None:
        self.app = app
        self._submitter = submitter
        self._hub = hub
        self._log_hub = log_hub

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request (ASGI)."""
        await self.app(scope, receive, send)

    async def drain(self) -> None:
        """Let long polls and log streams end; new requests are still answered, /readyz with 503."""
        self.app.draining.set()
        await self._hub.close()
        await self._log_hub.close()

    async def close(self) -> None:
        """Finish the submits that were taken."""
        await self._submitter.close()


def build_app(
    *,
    settings: Settings,
    submit_store: SubmitStore,
    reader: RecordReader,
    tokens: TokenStore,
    health: Health,
    wakeup: Wakeup,
    logs: LogReader,
    clock: Clock,
    admission: AdmissionLimits = DEFAULT_LIMITS,
    table: Table = failures.TABLE,
    readiness: Readiness | None = None,
    tracer: Tracer | None = None,
) -> WebApp:
    """Return the ASGI application of the web server.

    Raises:
        ConfigurationError: authentication is off, and the address to listen on is not loopback.
    """
    check_exposure(settings)
    limits = SpecLimits(
        namespaces=frozenset(settings.namespaces),
        default_namespace=settings.namespaces[0],
        spec_max_bytes=settings.spec_max_bytes,
    )
    submitter = Submitter(submit_store)
    hub: ChangeHub[UUID] = ChangeHub(reader.versions, wakeup, clock)
    log_hub: ChangeHub[LogKey] = ChangeHub(logs.log_versions, wakeup, clock, topic="logs")
    log_service = LogService(reader, logs, clock, hub=hub, log_hub=log_hub)
    submits = SubmitApi(submitter, clock, limits, tracer=tracer)
    jobs = JobsApi(
        reader,
        submit_store,
        hub,
        log_service,
        clock=clock,
        wait_max_seconds=settings.wait_max_seconds,
        admission=admission,
    )
    records = RecordsApi(Explainer(reader, clock, last_lines=LastLines(logs), limits=admission, table=table))
    system = SystemApi(readiness or Readiness(health, clock))
    app = App(
        [
            *operations.submit_operations(submits),
            *operations.job_operations(jobs),
            *record_operations.record_operations(records),
            *record_operations.rerun_operations(RerunApi(reader, submits)),
            *record_operations.policy_operations(PoliciesApi(Simulator(reader))),
            *operations.system_operations(system),
        ],
        limits=Limits(body_max_bytes=settings.body_max_bytes, body_timeout_seconds=settings.body_timeout_seconds),
        authenticate=auth.Authenticator(tokens, clock) if settings.auth == "token" else auth.anonymous,
        explain=problems.explain,
        observe=_Counters(),
        headers=_HEADERS,
    )
    metrics.http_in_flight.set_function(lambda: app.in_flight)
    metrics.submits_waiting.set_function(lambda: submitter.waiting)
    system.document = operations.encode_document(app.operations)
    return WebApp(app, submitter=submitter, hub=hub, log_hub=log_hub)


def check_exposure(settings: Settings) -> None:
    """Refuse to listen without authentication where other machines can reach us.

    Raises:
        ConfigurationError: with the remedy.
    """
    if settings.auth == "none" and not is_loopback(settings.host):
        raise ConfigurationError(
            f"KJR_AUTH=none is for loopback only, and KJR_HOST is {settings.host!r}: set KJR_AUTH=token,"
            " or KJR_HOST=127.0.0.1"
        )


def is_loopback(host: str) -> bool:
    """Tell whether an address to listen on can be reached from this machine alone."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


class _Counters:
    """Counts and times requests; the metrics of each pair of labels are looked up once."""

    def __init__(self) -> None:
        self._children: dict[tuple[str, int], tuple[Any, Any]] = {}

    def __call__(self, operation: str, status: int, seconds: float) -> None:
        key = (operation, status)
        found = self._children.get(key)
        if found is None:
            found = self._children[key] = (
                metrics.http_requests.labels(operation, str(status)),
                metrics.http_seconds.labels(operation),
            )
        found[0].inc()
        found[1].observe(seconds)


class _Protocol(HttpToolsProtocol):
    """uvicorn's protocol with what it lacks: a limit of bytes and of time for the head of a request."""

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


class _Server(uvicorn.Server):
    """uvicorn without its signal handlers: the process has its own, and they set `stop`."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.listening = asyncio.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.listening.set()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


async def run(app: WebApp, settings: Settings, stop: asyncio.Event, ready: Callable[[str], None]) -> None:
    """Serve until `stop` is set, then end within `settings.drain_seconds`. `ready` is called with the URL.

    Raises:
        ConfigurationError: the address cannot be listened on.
    """
    listener = _listen(settings.host, settings.port)
    config = uvicorn.Config(
        app,
        http=_Protocol,
        ws="none",
        lifespan="off",
        interface="asgi3",
        access_log=False,
        log_config=None,
        server_header=False,
        proxy_headers=False,
        timeout_keep_alive=int(_KEEP_ALIVE_SECONDS),
    )
    server = _Server(config)
    serving = asyncio.create_task(server.serve(sockets=[listener]), name="web-server")
    stopping = asyncio.create_task(stop.wait())
    try:
        listening = asyncio.create_task(server.listening.wait())
        await asyncio.wait([listening, serving], return_when=asyncio.FIRST_COMPLETED)
        if not listening.done():
            listening.cancel()
            await serving
        ready(_url(settings.host, listener.getsockname()[1]))
        await asyncio.wait([serving, stopping], return_when=asyncio.FIRST_COMPLETED)
        await app.drain()
        await _end(server, serving, drain_seconds=settings.drain_seconds)
        await _bounded(app.close(), settings.drain_seconds)
    finally:
        stopping.cancel()
        serving.cancel()
        await asyncio.gather(serving, stopping, return_exceptions=True)
        listener.close()


async def _end(server: uvicorn.Server, serving: asyncio.Task[None], *, drain_seconds: float) -> None:
    """Close the listener a moment after /readyz began to say so, then wait for what is in flight."""
    deadline = asyncio.get_running_loop().time() + drain_seconds
    await asyncio.wait([serving], timeout=min(_ANNOUNCE_SECONDS, drain_seconds / 4))
    server.should_exit = True
    await asyncio.wait([serving], timeout=max(0.0, deadline - asyncio.get_running_loop().time()))
    if serving.done():
        serving.result()
        return
    loggers.get_logger(__name__).warning("requests were cut off", in_flight=len(server.server_state.tasks))
    server.force_exit = True
    for task in list(server.server_state.tasks):
        task.cancel()


async def _bounded(closing: Awaitable[None], timeout_seconds: float) -> None:
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(max(1.0, timeout_seconds)):
            await closing


def _listen(host: str, port: int) -> socket.socket:
    bare = host.strip("[]")
    try:
        family, *_, address = socket.getaddrinfo(bare, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
        return socket.create_server(address[:2], family=family, backlog=2048)
    except OSError as error:
        remedy = "choose another KJR_PORT (0 takes a free one)" if port else "check KJR_HOST"
        raise ConfigurationError(f"cannot listen on {host}:{port}: {error.strerror or error}; {remedy}") from error


def _url(host: str, port: int) -> str:
    bare = host.strip("[]")
    shown = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(bare, f"[{bare}]" if ":" in bare else bare)  # noqa: S104
    return f"http://{shown}:{port}"
