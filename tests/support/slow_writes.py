"""A reverse proxy before the Kubernetes API server that makes each write slow, and leaves reads and watches as they are.

A write is a POST, PUT, PATCH or DELETE. Half of its time passes before the server sees it, and half before its answer goes back,
so a client that gives up in between cannot know what happened.
"""

from __future__ import annotations

import asyncio
import ssl
import threading
from types import TracebackType

import aiohttp
from aiohttp import web

from tests.support.certificates import Authority
from tests.support.loops import end_others

_CONNECTION_HEADERS = {"connection", "keep-alive", "transfer-encoding", "content-length", "host", "content-encoding"}


class SlowWrites:
    """Serves HTTPS on a free port of loopback with a certificate of `authority`; in a thread of its own."""

    def __init__(self, server_port: int, authority: Authority, *, write_seconds: float) -> None:
        self.port = 0
        self.writes = 0
        """How many have been answered."""
        self._target = f"https://127.0.0.1:{server_port}"
        self._tls = authority.server_context()
        self._write_seconds = write_seconds
        self._loop = asyncio.new_event_loop()
        self._stop = asyncio.Event()
        self._started = threading.Event()
        self._thread = threading.Thread(target=lambda: self._loop.run_until_complete(self._serve()), daemon=True)

    def __enter__(self) -> SlowWrites:
        self._thread.start()
        assert self._started.wait(10)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(20)
        self._loop.close()

    async def _serve(self) -> None:
        no_limits = aiohttp.ClientTimeout(total=None)
        unchecked = ssl.create_default_context()
        unchecked.check_hostname, unchecked.verify_mode = False, ssl.CERT_NONE  # the server is on loopback
        connector = aiohttp.TCPConnector(ssl=unchecked, limit=0)
        async with aiohttp.ClientSession(timeout=no_limits, connector=connector, auto_decompress=False) as session:
            self._session = session
            runner = web.ServerRunner(web.Server(self._forward), shutdown_timeout=1.0)
            await runner.setup()
            site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=self._tls)
            await site.start()
            self.port = int(runner.addresses[0][1])
            self._started.set()
            await self._stop.wait()
            await runner.cleanup()
        await end_others()

    async def _forward(self, request: web.BaseRequest) -> web.StreamResponse:
        writes = request.method in ("POST", "PUT", "PATCH", "DELETE")
        body = await request.read()
        if writes:
            await asyncio.sleep(self._write_seconds / 2)
        headers = {name: value for name, value in request.headers.items() if name.lower() not in _CONNECTION_HEADERS}
        url = self._target + request.path_qs
        async with self._session.request(request.method, url, data=body or None, headers=headers) as answer:
            if writes:
                await asyncio.sleep(self._write_seconds / 2)
                self.writes += 1
            kept = {name: value for name, value in answer.headers.items() if name.lower() not in _CONNECTION_HEADERS}
            response = web.StreamResponse(status=answer.status, headers=kept)
            await response.prepare(request)
            async for chunk in answer.content.iter_any():
                await response.write(chunk)
            await response.write_eof()
            return response
