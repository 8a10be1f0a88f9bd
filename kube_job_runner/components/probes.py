"""/livez, /readyz and /metrics of a component that has no web server: a small server of its own, on its own port."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Mapping

from kube_job_runner import ports, telemetry
from kube_job_runner.domain.errors import TemporaryError

log = telemetry.get_logger(__name__)

_REQUEST_MAX_BYTES = 8 * 1024
_REQUEST_SECONDS = 5.0
_TEXT = "text/plain; charset=utf-8"
_METRICS = "text/plain; version=0.0.4; charset=utf-8"


Notes = Callable[[], Mapping[str, str]]


async def run(
    health: ports.Health, *, host: str, port: int, stop: asyncio.Event, notes: Notes = dict[str, str]
) -> None:
    """Answer probes until `stop`; readiness turns to 503 as soon as the process begins to stop.

    `notes` are lines by name that say how things stand and do not make it less ready: who leads, for one.
    """

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, TimeoutError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            async with asyncio.timeout(_REQUEST_SECONDS):
                head = await reader.readuntil(b"\r\n\r\n")
                path = head.split(b" ", 2)[1].split(b"?")[0].decode("latin-1") if head.count(b" ") >= 2 else ""
                status, kind, body = await _answer(path, health, stopping=stop.is_set(), notes=notes)
                writer.write(
                    f"HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\n"
                    "Connection: close\r\nX-Content-Type-Options: nosniff\r\n\r\n".encode("latin-1")
                    + body
                )
                await writer.drain()
        writer.close()

    server = await asyncio.start_server(serve, host, port, limit=_REQUEST_MAX_BYTES)
    async with server:
        log.info("probes", port=server.sockets[0].getsockname()[1])
        await stop.wait()


async def _answer(path: str, health: ports.Health, *, stopping: bool, notes: Notes) -> tuple[str, str, bytes]:
    if path in ("/livez", "/healthz"):
        return "200 OK", _TEXT, b"ok\n"
    if path == "/metrics":
        return "200 OK", _METRICS, telemetry.exposition()
    if path != "/readyz":
        return "404 Not Found", _TEXT, b"not found\n"
    if stopping:
        return "503 Service Unavailable", _TEXT, b"stopping\n"
    try:
        checks = await health.check()
    except TemporaryError as error:
        checks = {"database": str(error)}
    lines = [f"[{'-' if wrong else '+'}]{name} {wrong or 'ok'}" for name, wrong in checks.items()]
    lines += [f"[i]{name} {said}" for name, said in notes().items()]
    ready = not any(checks.values())
    body = ("\n".join(lines) + "\n").encode()
    return ("200 OK" if ready else "503 Service Unavailable"), _TEXT, body
