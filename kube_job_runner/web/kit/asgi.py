"""The ASGI application of the kit: finds the operation, parses the request, calls the handler, and sends the answer.

It is plain ASGI without middlewares. Each request makes one pass through one function, and fixed headers are built before.
"""

import asyncio
import contextlib
import dataclasses
import itertools
import os
import re
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

import msgspec
import structlog
from starlette.routing import Route, Router
from starlette.types import Receive, Scope, Send

from kube_job_runner.web.kit import bodies, problems
from kube_job_runner.web.kit.decoding import LIGHT_BYTES, Budget, Decoding, Lease
from kube_job_runner.web.kit.handling import Call, Document, HeaderList, Nothing, Reply, first_of
from kube_job_runner.web.kit.operations import Bound, Operation, group
from kube_job_runner.web.kit.origins import Gate
from kube_job_runner.web.kit.queries import path_value
from kube_job_runner.web.validation.body import BodyDecoder, Decoded
from kube_job_runner.web.validation.fault import Fault

_encode = msgspec.json.Encoder().encode
_REQUEST_ID = re.compile(rb"[A-Za-z0-9._-]{1,64}")
_PROBLEM_JSON = b"application/problem+json"
_NOTHING = Nothing()
_OPEN = Gate(loopback=False)
_LEASE = "kube_job_runner.body"  # of a scope: the bytes of its body, counted until the request is over
_log = structlog.get_logger(__name__)

Authenticate = Callable[[Mapping[bytes, bytes]], Awaitable[str]]
Explain = Callable[[Exception], problems.RequestProblem | None]
Observe = Callable[[str, int, float], None]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Limits:
    """Limits of one request: bytes of its body, and seconds until the body must be complete; and bytes of all bodies."""

    body_max_bytes: int
    body_timeout_seconds: float
    bodies_max_bytes: int


class App:
    """The application. `draining` is set when the server stops; long waits and streams then end."""

    def __init__(
        self,
        operations: Sequence[Operation],
        *,
        limits: Limits,
        authenticate: Authenticate,
        explain: Explain,
        observe: Observe,
        headers: HeaderList,
        gate: Gate = _OPEN,
        draining: asyncio.Event | None = None,
    ) -> None:
        self.operations = [Bound(operation, body_max_bytes=limits.body_max_bytes) for operation in operations]
        self.draining = draining or asyncio.Event()
        self.in_flight = 0
        self._limits = limits
        self._budget = Budget(limits.bodies_max_bytes)
        self._decoding = Decoding()
        self._gate = gate
        self._authenticate = authenticate
        self._explain = explain
        self._observe = observe
        self._headers = list(headers)
        self._id_prefix = os.urandom(6).hex()
        self._ids = itertools.count(1)
        endpoints = {path: _Endpoint(self, methods) for path, methods in group(self.operations).items()}
        self._literal = {path: endpoint for path, endpoint in endpoints.items() if "{" not in path}
        by_length = sorted((path for path in endpoints if "{" in path), key=len, reverse=True)
        routes = [Route(path, endpoint=endpoints[path]) for path in by_length]
        self._router = Router(routes, redirect_slashes=False, default=self._not_found)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one ASGI connection; anything but HTTP is ignored."""
        if scope["type"] != "http":
            return
        endpoint = self._literal.get(scope["path"])
        if endpoint is not None:
            scope["path_params"] = {}
            await endpoint(scope, receive, send)
        else:
            await self._router(scope, receive, send)

    async def serve(self, bound: Bound, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request of an operation. Every error becomes a problem."""
        began = time.perf_counter()
        self.in_flight += 1
        try:
            await self._serve(bound, scope, receive, send, began)
        finally:
            self.in_flight -= 1
            if _LEASE in scope:
                scope[_LEASE].end()

    async def _serve(self, bound: Bound, scope: Scope, receive: Receive, send: Send, began: float) -> None:
        headers = dict(scope["headers"])
        request_id = self._request_id(headers)
        try:
            call = await self._call(bound, scope, receive, headers, request_id)
            reply = await bound.handler(call)
        except bodies.ClientGone:
            return
        except Exception as error:  # noqa: BLE001 - the outermost handler: nothing may pass it unanswered
            reply = self._problem(scope, error, request_id)
        status = reply.status or bound.operation.status
        self._observe(bound.operation.operation_id, status, time.perf_counter() - began)
        await self._send(scope, receive, send, reply, status, request_id)

    async def refuse(self, scope: Scope, receive: Receive, send: Send, problem: problems.RequestProblem) -> None:
        """Answer a request that matches no operation."""
        request_id = self._request_id(dict(scope["headers"]))
        self._observe("none", problem.type.status, 0.0)
        reply = self._problem(scope, problem, request_id)
        await self._send(scope, receive, send, reply, problem.type.status, request_id)

    async def _not_found(self, scope: Scope, receive: Receive, send: Send) -> None:
        problem = problems.RequestProblem(problems.NOT_FOUND, "there is nothing at this path")
        await self.refuse(scope, receive, send, problem)

    async def _call(
        self, bound: Bound, scope: Scope, receive: Receive, headers: Mapping[bytes, bytes], request_id: str
    ) -> Call[Any, Any, Any]:
        gate = bound.operation.gate
        if gate != "probe":
            self._gate.check(headers, data=gate == "data")
        principal = "" if bound.public else await self._authenticate(headers)
        _check_accept(bound, headers)
        path: Any = _NOTHING
        if bound.path_type is not Nothing:
            path = path_value(bound.path_type, scope["path_params"])
            if path is None:
                raise problems.RequestProblem(problems.NOT_FOUND)
        query = bound.query.decode(scope["query_string"])
        body: Any = _NOTHING
        warnings: Sequence[Fault] = ()
        if bound.takes_body:
            lease = scope[_LEASE] = self._budget.lease(principal)
            here = bodies.BODY_IS_HERE in scope
            raw = await self._body(bound, receive, headers, lease, here=here)
            if bound.raw_body:
                body = Document(raw, self._decoding)
            elif bound.decoder is not None:
                decoded = await self._decoded(bound.decoder, raw, strict=getattr(query, "strict", False))
                body, warnings = decoded.value, decoded.warnings
        return Call(
            path, query, body, headers, principal, request_id, _instance(scope), warnings, receive, self.draining
        )

    async def _decoded(self, decoder: BodyDecoder[Any], raw: bytes, *, strict: bool) -> Decoded[Any]:
        if len(raw) <= LIGHT_BYTES:
            return decoder.decode(raw, strict=strict)

        def fast(body: bytes) -> Decoded[Any] | None:
            value = decoder.fast(body)
            return None if value is None else Decoded(value)

        return await self._decoding.run(raw, fast=fast, full=lambda body: decoder.decode(body, strict=strict))

    async def _body(
        self, bound: Bound, receive: Receive, headers: Mapping[bytes, bytes], lease: Lease, *, here: bool
    ) -> bytes:
        has_body = bodies.has_body(headers)
        if has_body or b"content-type" in headers:
            bodies.check_media_type(headers)
        if has_body:
            raw = await bodies.read(
                receive,
                headers,
                max_bytes=bound.body_max_bytes,
                timeout_seconds=self._limits.body_timeout_seconds,
                lease=lease,
                here=here,
            )
            if raw or not bound.operation.body_optional:
                return raw
        return b"{}" if bound.operation.body_optional else b""

    def _request_id(self, headers: Mapping[bytes, bytes]) -> str:
        given = headers.get(b"x-request-id")
        if given is not None and _REQUEST_ID.fullmatch(given):
            return given.decode("ascii")
        return f"{self._id_prefix}-{next(self._ids):x}"

    def _problem(self, scope: Scope, error: Exception, request_id: str) -> Reply[Any]:
        problem = error if isinstance(error, problems.RequestProblem) else None
        problem = problem or problems.of_document(error) or self._explain(error)
        if problem is None:
            _log.error(
                "request failed",
                action="http.request",
                exc_info=error,
                request_id=request_id,
                method=scope["method"],
                path=scope["path"],
            )
            problem = problems.RequestProblem(problems.INTERNAL_ERROR)
        document = problems.details(problem, instance=_instance(scope), request_id=request_id)
        return Reply(
            content=problems.encode(document),
            status=problem.type.status,
            media_type=_PROBLEM_JSON,
            headers=problem.headers,
        )

    async def _send(
        self, scope: Scope, receive: Receive, send: Send, reply: Reply[Any], status: int, request_id: str
    ) -> None:
        content = b""
        headers = [*self._headers, (b"x-request-id", request_id.encode()), *reply.headers]
        if self.draining.is_set():
            headers.append((b"connection", b"close"))
        if status != 304:
            headers.append((b"content-type", reply.media_type))
        if reply.chunks is None and status != 304:
            content = reply.content if reply.content is not None else _encode(reply.value)
            headers.append((b"content-length", b"%d" % len(content)))
        await send({"type": "http.response.start", "status": status, "headers": headers})
        if reply.chunks is None or scope["method"] == "HEAD":
            await send({"type": "http.response.body", "body": content})
            return
        await self._stream(scope, receive, send, reply, request_id)

    async def _stream(self, scope: Scope, receive: Receive, send: Send, reply: Reply[Any], request_id: str) -> None:
        pump = asyncio.ensure_future(_pump(reply, send))
        try:
            await first_of(pump, _gone(receive), self.draining.wait())
        except Exception as error:  # noqa: BLE001 - the answer has begun: all that is left is to break it off
            _log.warning(
                "stream broke off", action="http.stream", error=str(error), request_id=request_id, path=scope["path"]
            )
            return  # without the last chunk: the client must see that the answer is not complete
        with contextlib.suppress(OSError):
            await send({"type": "http.response.body", "body": b"", "more_body": False})


class _Endpoint:
    """The operations of one path, by method."""

    def __init__(self, app: App, methods: Mapping[str, Bound]) -> None:
        self._app = app
        self._methods = dict(methods)
        if "GET" in methods:
            self._methods["HEAD"] = methods["GET"]
        self._allow = ", ".join(sorted(self._methods)).encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        bound = self._methods.get(scope["method"])
        if bound is not None:
            await self._app.serve(bound, scope, receive, send)
            return
        detail = f"{scope['method'][:20]} is not for this path; use {self._allow.decode()}"
        problem = problems.RequestProblem(problems.METHOD_NOT_ALLOWED, detail, headers=((b"allow", self._allow),))
        await self._app.refuse(scope, receive, send, problem)


async def _pump(reply: Reply[Any], send: Send) -> None:
    assert reply.chunks is not None
    chunks = reply.chunks
    try:
        async for chunk in chunks:
            await send({"type": "http.response.body", "body": chunk, "more_body": True})
    finally:
        close = getattr(chunks, "aclose", None)
        if close is not None:
            await close()


async def _gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


def _instance(scope: Scope) -> str:
    path = scope.get("raw_path") or scope["path"].encode("utf-8", "replace")
    return str(path[:2000].decode("ascii", "replace"))


def _check_accept(bound: Bound, headers: Mapping[bytes, bytes]) -> None:
    accept = headers.get(b"accept")
    if accept is None or accept == b"*/*" or not accept.strip():
        return
    lowered = accept.lower()
    if b"*/*" in lowered or any(acceptable in lowered for acceptable in bound.acceptable):
        return
    detail = f"this operation answers with {bound.operation.media_type} only"
    raise problems.RequestProblem(problems.NOT_ACCEPTABLE, detail)
