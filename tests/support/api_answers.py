"""Answers of the fake API server: lines of a watch, and faults on demand."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from aiohttp import web

if TYPE_CHECKING:
    from tests.support.fake_apiserver import FakeApiServer

Fault = Callable[["FakeApiServer", "Call", web.Request], Awaitable[web.StreamResponse]]
_NO_CONTENT_TYPE = web.ResponseKey("no-content-type", bool)


@dataclass(kw_only=True)
class Call:
    """One request as the server understood it."""

    verb: str
    resource: str
    namespace: str | None
    name: str | None
    query: dict[str, str]
    headers: dict[str, str]
    body: bytes = b""

    @property
    def json(self) -> Any:
        """The body, decoded."""
        return json.loads(self.body)


def line(type_: str, item: dict[str, Any]) -> bytes:
    """One line of a watch."""
    return json.dumps({"type": type_, "object": item}).encode() + b"\n"


def bookmark(version: int | str, *, initial: bool = False) -> bytes:
    """A BOOKMARK line; `initial` is the one that ends the initial events."""
    metadata: dict[str, Any] = {"resourceVersion": str(version)}
    if initial:
        metadata["annotations"] = {"k8s.io/initial-events-end": "true"}
    return line("BOOKMARK", {"kind": "Job", "apiVersion": "batch/v1", "metadata": metadata, "status": {}})


def error_line(code: int, message: str, reason: str = "Expired") -> bytes:
    """An ERROR line: how a running watch reports that it ends."""
    return line("ERROR", {"kind": "Status", "status": "Failure", "code": code, "message": message, "reason": reason})


async def open_stream(request: web.Request) -> web.StreamResponse:
    """Begin a chunked answer."""
    response = web.StreamResponse(headers={"Content-Type": "application/json"})
    response.enable_chunked_encoding()
    await response.prepare(request)
    return response


# --- Faults ---


def answer(code: int, message: str = "", reason: str = "", **options: Any) -> Fault:
    """Answer with a Status (options: `details`, `headers`)."""

    async def fault(_server: FakeApiServer, _call: Call, _request: web.Request) -> web.StreamResponse:
        return status(code, message, reason, **options)

    return fault


def text(code: int, body: str, *, content_type: str | None = "text/plain") -> Fault:
    """Answer with text, as a proxy in front of the API server does; `content_type=None` sends no Content-Type."""

    async def fault(_server: FakeApiServer, _call: Call, _request: web.Request) -> web.StreamResponse:
        response = web.Response(status=code, body=body.encode())
        if content_type is None:
            response[_NO_CONTENT_TYPE] = True
        else:
            response.headers["Content-Type"] = content_type
        return response

    return fault


def reset() -> Fault:
    """Cut the connection without an answer."""

    async def fault(_server: FakeApiServer, _call: Call, request: web.Request) -> web.StreamResponse:
        assert request.transport is not None
        request.transport.abort()
        return web.Response()

    return fault


def hang() -> Fault:
    """Never answer."""

    async def fault(server: FakeApiServer, _call: Call, _request: web.Request) -> web.StreamResponse:
        await server.closing.wait()
        return web.Response(status=503)

    return fault


def done_then(fault: Fault) -> Fault:
    """Carry out the request, then answer as `fault` does."""

    async def combined(server: FakeApiServer, call: Call, request: web.Request) -> web.StreamResponse:
        await server.normally(call, request)
        return await fault(server, call, request)

    return combined


def stream(*chunks: bytes, then: str = "close") -> Fault:
    """Begin a stream, send each of `chunks` in its own write, then `close`, go `silent`, or `abort`."""

    async def fault(server: FakeApiServer, _call: Call, request: web.Request) -> web.StreamResponse:
        response = await open_stream(request)
        for chunk in chunks:
            await response.write(chunk)
            await asyncio.sleep(0)
        if then == "silent":
            await server.closing.wait()
        elif then == "abort":
            assert request.transport is not None
            request.transport.abort()
        return response

    return fault


def status(code: int, message: str, reason: str, **options: Any) -> web.Response:
    """Return a Status as the API server answers it."""
    body = {
        "kind": "Status",
        "apiVersion": "v1",
        "metadata": {},
        "status": "Failure",
        "message": message,
        "reason": reason,
        "code": code,
    }
    if options.get("details"):
        body["details"] = options["details"]
    return web.json_response(body, status=code, headers=options.get("headers"))


async def drop_content_type(_request: web.Request, response: web.StreamResponse) -> None:
    """Send no Content-Type where the answer wants none: aiohttp adds one."""
    if response.get(_NO_CONTENT_TYPE):
        response.headers.pop("Content-Type", None)
