"""Sends requests to one API server: connections, credentials, deadlines. No exception of a library leaves this module.

There are two pools of connections: a bounded one for requests, and one for watches and logs, which live long and must not
use up the first. Every request may be repeated (a create is adopted, a delete names a uid), so a request whose connection
was lost is tried once more at once.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from typing import Any, cast
from urllib.parse import urlsplit

import aiohttp
import yarl

from kube_job_runner import __version__
from kube_job_runner.adapters.kubernetes import answers
from kube_job_runner.adapters.kubernetes.answers import Answer
from kube_job_runner.adapters.kubernetes.connector import CONNECT_SECONDS, Connector, OpenConnections
from kube_job_runner.adapters.kubernetes.credentials import CredentialSource
from kube_job_runner.adapters.kubernetes.rest_config import ConnectionConfig
from kube_job_runner.adapters.kubernetes.tls import Contexts
from kube_job_runner.domain.errors import TemporaryError
from kube_job_runner.domain.failures import refusals
from kube_job_runner.ports import send_lease
from kube_job_runner.telemetry.loggers import get_logger

_log = get_logger(__name__)

REQUEST_SECONDS = 30.0
STREAM_BUFFER_BYTES = 2**21
_HEADERS = {"Accept": "application/json", "User-Agent": f"kube-job-runner/{__version__}"}
_LOST = (aiohttp.ServerDisconnectedError, aiohttp.ClientOSError, aiohttp.ClientPayloadError)
# With a proxy aiohttp makes the socket, and uvloop raises RuntimeError for a descriptor that it still knows.
_FAILED = (aiohttp.ClientError, TimeoutError, OSError, ValueError, RuntimeError)


class Stream:
    """The body of an open answer, read as it arrives."""

    def __init__(self, response: aiohttp.ClientResponse, *, action: str) -> None:
        self._response = response
        self._action = action

    async def read(self, *, idle_seconds: float | None) -> bytes:
        """Return the bytes that have arrived, at least one; b"" at the end.

        Raises:
            TemporaryError: nothing arrived for `idle_seconds` (None: wait for ever), or the connection broke.
        """
        try:
            async with asyncio.timeout(idle_seconds):
                return await self._response.content.readany()
        except TimeoutError:
            message = f"{self._action}: nothing heard for {idle_seconds:g} s"
            raise TemporaryError(message, reason=refusals.SILENT.reason) from None
        except (aiohttp.ClientError, OSError) as error:
            raise _unavailable(self._action, error) from None

    async def gather(self, seconds: float) -> None:
        """Pause reading for this time. The bytes that arrive stay in the kernel's buffer, and are then read together."""
        connection = self._response.connection
        if connection is None or connection.transport is None or connection.transport.is_closing():
            return
        transport = cast("asyncio.ReadTransport", connection.transport)  # the classes of uvloop are no subclasses
        transport.pause_reading()
        try:
            await asyncio.sleep(seconds)
        finally:
            if not transport.is_closing():
                transport.resume_reading()


class Client:
    """The API server of one configuration. Connections are opened by the first request."""

    def __init__(
        self,
        config: ConnectionConfig,
        source: CredentialSource,
        *,
        concurrency: int,
        monotonic: Callable[[], float],
        request_seconds: float = REQUEST_SECONDS,
    ) -> None:
        self._config = config
        self._source = source
        self._server = config.server.rstrip("/")
        self._secure = urlsplit(self._server).scheme == "https"
        self._contexts = Contexts(config, monotonic=monotonic)
        self._slots = asyncio.Semaphore(concurrency)
        self._concurrency = concurrency
        self._request_seconds = request_seconds
        self._request_timeout = aiohttp.ClientTimeout(total=request_seconds, sock_connect=CONNECT_SECONDS)
        self._requests: aiohttp.ClientSession | None = None
        self._streams: aiohttp.ClientSession | None = None
        self._connections = OpenConnections()
        self._closed = False

    @property
    def server(self) -> str:
        """The URL of the API server."""
        return self._server

    async def request(
        self, method: str, target: str, *, action: str, body: bytes | None = None, accept: str | None = None
    ) -> Answer:
        """Send a request and return the whole answer, with any status. After a 401 it is sent once more, with new credentials.

        `target` is path and query, encoded. `action` names the request in messages. `accept` is the media type to ask for,
        if not plain JSON.

        Raises:
            TemporaryError: no answer came, so it is unknown whether the request was carried out.
        """
        await send_lease.before_send(self._slots.acquire())
        try:
            answer, credential = await self._repeated(method, target, action=action, body=body, accept=accept)
            if answer.status == 401:
                await self._source.renew(credential)
                answer, _ = await self._repeated(method, target, action=action, body=body, accept=accept)
            return answer
        finally:
            self._slots.release()

    @contextlib.asynccontextmanager
    async def stream(self, target: str, *, action: str, idle_seconds: float) -> AsyncIterator[Stream]:
        """Open a GET and yield its body as a stream. The headers must come within `idle_seconds`.

        Raises:
            Refused: the answer is not a success.
            TemporaryError: no answer came.
        """
        response, credential = await self._open(target, action=action, idle_seconds=idle_seconds)
        if response.status == 401:
            response.close()
            await self._source.renew(credential)
            response, _ = await self._open(target, action=action, idle_seconds=idle_seconds)
        try:
            if response.status != 200:
                raise answers.Refused(await self._answer(response, action=action, idle_seconds=idle_seconds))
            yield Stream(response, action=action)
        finally:
            if response.connection is not None and response.connection.transport is not None:
                response.connection.transport.abort()  # nothing more is sent on it
            response.close()

    async def close(self) -> None:
        """Close all connections; requests in flight fail."""
        self._closed = True
        for session in (self._requests, self._streams):
            if session is not None:
                await session.close()
        await self._connections.cut()

    async def _repeated(
        self, method: str, target: str, *, action: str, body: bytes | None, accept: str | None
    ) -> tuple[Answer, Any]:
        sending = send_lease.current()
        try:
            return await self._once(method, target, body=body, accept=accept)
        except aiohttp.ClientConnectorError as error:
            if sending is not None:
                sending.settle()  # it never left
            raise self._failed(action, error) from None
        except _LOST as error:
            if method != "POST":  # aiohttp has already tried the others twice
                raise self._failed(action, error) from None
        except _FAILED as error:
            raise self._failed(action, error) from None
        try:
            return await self._once(method, target, body=body, accept=accept)
        except _FAILED as error:
            raise self._failed(action, error) from None

    async def _once(self, method: str, target: str, *, body: bytes | None, accept: str | None) -> tuple[Answer, Any]:
        credential, options = await send_lease.before_send(self._options())
        if body is not None:
            options["headers"]["Content-Type"] = "application/json"
        if accept is not None:
            options["headers"]["Accept"] = accept
        sending = send_lease.current()
        if sending is not None:
            # Here, because the waits for a slot and for credentials are over.
            seconds = sending.begin(self._request_seconds)
            options["timeout"] = aiohttp.ClientTimeout(total=seconds, sock_connect=min(CONNECT_SECONDS, seconds))
            target = _bounded(target, seconds) if method == "POST" else target
        url = yarl.URL(self._server + target, encoded=True)
        async with self._request_session().request(method, url, data=body, **options) as response:
            content = await response.read()
        if sending is not None and response.status < 500:
            sending.settle()
        return Answer(response.status, content, answers.retry_after(response.headers)), credential

    async def _open(self, target: str, *, action: str, idle_seconds: float) -> tuple[aiohttp.ClientResponse, Any]:
        credential, options = await self._options()
        url = yarl.URL(self._server + target, encoded=True)
        try:
            async with asyncio.timeout(idle_seconds):
                return await self._stream_session().get(url, **options), credential
        except _FAILED as error:
            raise self._failed(action, error) from None

    async def _answer(self, response: aiohttp.ClientResponse, *, action: str, idle_seconds: float) -> Answer:
        try:
            async with asyncio.timeout(min(idle_seconds, REQUEST_SECONDS)):
                content = await response.read()
        except _FAILED as error:
            raise self._failed(action, error) from None
        return Answer(response.status, content, answers.retry_after(response.headers))

    async def _options(self) -> tuple[Any, dict[str, Any]]:
        if self._closed:
            raise TemporaryError("the connection to the cluster was closed")
        credential = await self._source.get()
        headers = {"Authorization": credential.authorization} if credential.authorization else {}
        options: dict[str, Any] = {"headers": headers, "allow_redirects": False}
        if self._secure:
            options["ssl"] = self._contexts.get(credential.certificate)
            options["server_hostname"] = self._config.tls_server_name
        if self._config.proxy_url:
            options["proxy"] = self._config.proxy_url
        return credential, options

    def _request_session(self) -> aiohttp.ClientSession:
        if self._requests is None:
            connector = self._connector(limit=self._concurrency, keepalive_seconds=30.0)
            self._requests = self._session(connector, timeout=self._request_timeout)
        return self._requests

    def _stream_session(self) -> aiohttp.ClientSession:
        if self._streams is None:
            connector = self._connector(limit=0, keepalive_seconds=15.0)
            timeout = aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_SECONDS)
            self._streams = self._session(connector, timeout=timeout, read_bufsize=STREAM_BUFFER_BYTES)
        return self._streams

    def _connector(self, *, limit: int, keepalive_seconds: float) -> aiohttp.BaseConnector:
        if self._config.proxy_url:
            return aiohttp.TCPConnector(limit=limit, keepalive_timeout=keepalive_seconds, ttl_dns_cache=30)
        return Connector(self._connections, limit=limit, keepalive_seconds=keepalive_seconds)

    def _session(self, connector: aiohttp.BaseConnector, **options: Any) -> aiohttp.ClientSession:
        return aiohttp.ClientSession(
            connector=connector, cookie_jar=aiohttp.DummyCookieJar(), trust_env=False, headers=_HEADERS, **options
        )

    def _failed(self, action: str, error: Exception) -> TemporaryError:
        if isinstance(error, (aiohttp.ClientConnectorCertificateError, aiohttp.ClientConnectorSSLError)):
            self._contexts.expire()
        return _unavailable(action, error, address=urlsplit(self._server).netloc.rpartition("@")[2])


def _bounded(target: str, seconds: float) -> str:
    """Return the target with the time that the server may take (apiserver, WithRequestDeadline), in Go's notation."""
    return f"{target}{'&' if '?' in target else '?'}timeout={seconds:.3f}s"


def _unavailable(action: str, error: Exception, *, address: str = "") -> TemporaryError:
    """Return what to raise; `address` is the server's, where the connection itself may have failed."""
    text = _what_failed(error, address)
    return answers.temporary(
        f"{action}: no answer: {text}", delay_seconds=1.0, reason=refusals.CLUSTER_UNAVAILABLE.reason
    )


def _what_failed(error: Exception, address: str) -> str:
    """Return the failure in words of our own: a library's text may hold the URL of a proxy with its password, or a path."""
    if isinstance(error, aiohttp.ClientConnectorError):
        return f"cannot connect to {error.host}:{error.port}: {error.os_error.strerror or error.os_error}"
    if isinstance(error, aiohttp.ClientHttpProxyError):
        return f"the proxy answered {error.status}"
    if isinstance(error, TimeoutError):
        return f"timeout of {address}" if address else "timeout"
    if isinstance(error, aiohttp.ServerDisconnectedError):
        return "Server disconnected"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    _log.warning("a request to the API server failed", action="cluster.request", error=str(error))
    return type(error).__name__
