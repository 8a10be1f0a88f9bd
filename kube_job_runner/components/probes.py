"""/livez, /healthz, /readyz and /metrics of a component that has no web server: a small server of its own, on its own port."""

from __future__ import annotations

import asyncio
import contextlib

from kube_job_runner.services.readiness import Readiness
from kube_job_runner.telemetry import loggers, metrics

log = loggers.get_logger(__name__)

_REQUEST_MAX_BYTES = 8 * 1024
_REQUEST_SECONDS = 5.0
_TEXT = "text/plain; charset=utf-8"
_METRICS = "text/plain; version=0.0.4; charset=utf-8"


async def run(readiness: Readiness, *, host: str, port: int, stop: asyncio.Event) -> None:
    """Answer probes until cancelled; readiness turns to 503 as soon as `stop` is set, while the components still drain."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, TimeoutError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            async with asyncio.timeout(_REQUEST_SECONDS):
                head = await reader.readuntil(b"\r\n\r\n")
                path = head.split(b" ", 2)[1].decode("latin-1") if head.count(b" ") >= 2 else ""
                readiness.stopping = stop.is_set()
                status, kind, body = await _answer(path, readiness)
                writer.write(
                    f"HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\n"
                    "Connection: close\r\nX-Content-Type-Options: nosniff\r\n\r\n".encode("latin-1")
                    + body
                )
                await writer.drain()
        writer.close()

    server = await asyncio.start_server(serve, host, port, limit=_REQUEST_MAX_BYTES)
    async with server:
        log.info("probes", action="probes.listen", port=server.sockets[0].getsockname()[1])
        await server.serve_forever()


async def _answer(target: str, readiness: Readiness) -> tuple[str, str, bytes]:
    path, _, query = target.partition("?")
    if path in ("/livez", "/healthz"):
        return "200 OK", _TEXT, b"ok\n"
    if path == "/metrics":
        await readiness.checks()
        return "200 OK", _METRICS, metrics.exposition()
    if path != "/readyz":
        return "404 Not Found", _TEXT, b"not found\n"
    ready, lines = await readiness.report()
    if not ready:
        return "503 Service Unavailable", _TEXT, lines.encode("utf-8", "replace")
    return "200 OK", _TEXT, lines.encode() if query.partition("=")[0] == "verbose" else b"ok\n"
