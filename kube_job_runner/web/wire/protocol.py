"""The protocol of one connection: uvicorn's, with the phases of `connections` and the rules of `heads`.

uvicorn closes a connection where it is done with it. Here that means: the answer is sent, what the client still sends of its
request is thrown away for a moment so that it can read the answer, and then the connection is cut.
"""

import functools
from typing import Any

from starlette.types import Message, Receive, Scope, Send
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle

from kube_job_runner.web.kit import problems
from kube_job_runner.web.kit.bodies import BODY_IS_HERE
from kube_job_runner.web.kit.problems import MALFORMED_REQUEST, TOO_MANY_CONNECTIONS, RequestProblem
from kube_job_runner.web.wire import heads
from kube_job_runner.web.wire.connections import Phase, Progress, Room

PIPELINE_MAX = 64
"""Requests that may wait behind the one that is being answered."""
PROBES = frozenset({"/livez", "/readyz", "/healthz"})
_CLOSE = (b"connection", b"close")
_FRAMING_BYTES = 64 * 1024  # of a chunked body: sizes, extensions and trailers
_FRAMING_RATIO = 8  # a chunk of one byte needs six bytes


class Wire:
    """uvicorn's view of the transport: it counts what is written, and leaves the end to the protocol."""

    def __init__(self, inner: Any, protocol: "ApiProtocol") -> None:
        self.inner = inner
        self.sent_bytes = 0
        self.closing = False
        self._protocol = protocol
        self.get_extra_info = inner.get_extra_info

    def write(self, data: bytes) -> None:
        self.sent_bytes += len(data)
        self.inner.write(data)

    def close(self) -> None:
        self._protocol.finish()

    def is_closing(self) -> bool:
        return self.closing or bool(self.inner.is_closing())

    def pause_reading(self) -> None:
        if not self.is_closing():
            self.inner.pause_reading()

    def resume_reading(self) -> None:
        if not self.is_closing():
            self.inner.resume_reading()


class ApiProtocol(HttpToolsProtocol):
    """The protocol of the API."""

    not_http = MALFORMED_REQUEST
    bytes_max: int | None = None

    def __init__(self, *args: Any, room: Room, **more: Any) -> None:
        super().__init__(*args, **more)
        self._room = room
        self._served = self.app
        self.app = self._answer
        self.peer = ""
        self.phase = Phase.HEAD
        self.until = self.ends_at = 0.0
        self.only_probes = False
        self.progress = Progress()
        self._wire: Wire | None = None
        self._current: RequestResponseCycle | None = None  # the request that is answered; `cycle` is the newest one
        self._in_head = self._feeding = False
        self._deaf = False  # nothing that comes now is a request any more
        self._refusal: RequestProblem | None = None
        self._head_bytes = self._body_bytes = self._raw_bytes = self._seen_bytes = 0

    @property
    def sent_bytes(self) -> int:
        return self._wire.sent_bytes if self._wire is not None else 0

    @property
    def pending_bytes(self) -> int:
        return int(self._wire.inner.get_write_buffer_size()) if self._wire is not None else 0

    # --- What the transport tells ---

    def connection_made(self, transport: Any) -> None:
        self._wire = Wire(transport, self)
        super().connection_made(self._wire)  # type: ignore[arg-type]  # all that uvicorn uses of a transport
        self.peer = self.client[0] if self.client else ""
        self._room.enter(self)
        self._room.note(self, Phase.HEAD)

    def connection_lost(self, exc: Exception | None) -> None:
        self._room.leave(self)
        self._unset_keepalive_if_required()
        if self._wire is not None:
            self._wire.closing = True
        for cycle in (self._current, *(cycle for cycle, _ in self.pipeline)):
            if cycle is not None and not cycle.response_complete:
                _disconnect(cycle)
        self.pipeline.clear()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        self._seen_bytes += len(data)
        if self._deaf or self.phase in (Phase.LINGER, Phase.CLOSING):
            self._raw_bytes += len(data)
            if self._raw_bytes > self._room.deadlines.linger_max_bytes:
                self.cut()
            return
        if self.bytes_max is not None and self._seen_bytes > self.bytes_max:
            self.cut()
            return
        before, answered = self.phase, self._current
        if self._in_head or before is Phase.HEAD or before is Phase.IDLE:
            self._head_bytes += len(data)
        elif before is Phase.BODY:
            self._raw_bytes += len(data)
        self._feeding = True
        super().data_received(data)
        self._feeding = False
        if self.phase is Phase.IDLE:  # not even one whole head came, or only blank lines
            self.phase = Phase.HEAD
        if self.phase is not before or self._current is not answered:
            self._room.note(self, self.phase)
        self._check_amounts()

    def _check_amounts(self) -> None:
        if self._deaf or self._wire is None or self._wire.closing:
            return
        if (self._in_head or self.phase is Phase.HEAD) and self._head_bytes > heads.HEAD_MAX_BYTES:
            self._stop(RequestProblem(problems.HEAD_TOO_LARGE))
        elif self.phase is Phase.BODY and self._raw_bytes > _FRAMING_BYTES + (_FRAMING_RATIO + 1) * self._body_bytes:
            self._stop(RequestProblem(MALFORMED_REQUEST, "the chunks of the body hold too little of it"))

    # --- What the parser tells ---

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._in_head = True

    def _note(self, phase: Phase) -> None:
        """Note the phase, once for all that one packet changes."""
        if self._feeding:
            self.phase = phase
        else:
            self._room.note(self, phase)

    def on_headers_complete(self) -> None:
        if len(self.headers) > heads.HEADERS_MAX:  # the bytes of a head are limited while it comes
            self._refuse(RequestProblem(problems.HEAD_TOO_LARGE))
        try:
            heads.check(self.parser.get_http_version(), self.parser.get_method(), self.url, self.headers)
        except RequestProblem as problem:
            self._refuse(problem)
        if len(self.pipeline) >= PIPELINE_MAX:
            self._refuse(RequestProblem(MALFORMED_REQUEST, "too many requests were sent without waiting for an answer"))
        self._in_head = False
        self._head_bytes = 0
        super().on_headers_complete()
        if self.parser.should_upgrade():  # it is not done; what follows the request may be another protocol
            self.cycle.keep_alive = False
        if self.pipeline:
            self._note(Phase.QUEUED)
        else:
            self._begin(self.cycle)

    def on_body(self, body: bytes) -> None:
        self._body_bytes += len(body)
        super().on_body(body)

    def on_message_complete(self) -> None:
        super().on_message_complete()
        if self.cycle is self._current and self.phase is Phase.BODY:
            self._note(Phase.ANSWER)
        if self.parser.should_upgrade():
            self._deaf = True

    def _refuse(self, problem: RequestProblem) -> None:
        """Raise the problem through the parser, which stops then."""
        self._refusal = problem
        raise problem

    def send_400_response(self, msg: str) -> None:
        self._stop(self._refusal or RequestProblem(self.not_http, "the request is not HTTP/1.1"))

    # --- What the application tells ---

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        cycle: RequestResponseCycle = send.__self__  # type: ignore[attr-defined]
        if self.only_probes and scope["path"] not in PROBES:
            cycle.keep_alive = False
            await _refuse_busy(scope["path"], send)
            return

        if not (cycle.more_body or self.only_probes):  # nearly always
            scope[BODY_IS_HERE] = True
            await self._served(scope, receive, send)
            return

        async def checked(message: Message) -> None:
            if message["type"] == "http.response.start" and (cycle.more_body or self.only_probes):
                message = {**message, "headers": [*message["headers"], _CLOSE]}
            await send(message)

        await self._served(scope, receive, checked)

    def on_response_complete(self) -> None:
        following = self.pipeline[-1][0] if self.pipeline else None
        super().on_response_complete()
        if self._wire is None or self._wire.closing:
            return
        if following is not None:
            self._begin(following)
        elif self._deaf:
            self.finish()
        else:
            self._current = None
            self._room.note(self, Phase.HEAD if self._in_head else Phase.IDLE)

    def _begin(self, cycle: RequestResponseCycle) -> None:
        self._current = cycle
        self._raw_bytes = self._body_bytes = 0
        if self.pipeline:
            self._note(Phase.QUEUED)
        else:
            self._note(Phase.BODY if cycle.more_body else Phase.ANSWER)

    # --- The end ---

    def _stop(self, problem: RequestProblem) -> None:
        """Take no more requests. Answer with the problem, unless an earlier request is being answered."""
        if self._wire is None or self._deaf:
            return
        self._deaf = True
        self._raw_bytes = 0
        current = self._current
        if current is not None and not current.response_complete:
            current.keep_alive = False
            self.pipeline.clear()
            if current is not self.cycle or current.response_started or not current.more_body:
                return  # its answer ends the connection
            _disconnect(current)
        self._wire.write(_answer_of(problem, self.server_state.default_headers))
        self.finish()

    def finish(self) -> None:
        """End the connection after what is written. A client that still sends is read for a moment."""
        wire = self._wire
        if wire is None or wire.closing:
            return
        inner = wire.inner
        sends = self._deaf or self._in_head or (self._current is not None and self._current.more_body)
        wire.closing = True
        self._deaf = True
        self._raw_bytes = 0
        self.pipeline.clear()
        self._unset_keepalive_if_required()
        if sends and not inner.is_closing() and inner.can_write_eof():
            self._room.note(self, Phase.LINGER)
            inner.write_eof()
            self.flow.read_paused = False
            inner.resume_reading()
        else:
            self._room.note(self, Phase.CLOSING)
            inner.close()

    def give_way(self) -> None:
        """Close a connection that waits; see `Room`."""
        if self.phase is Phase.IDLE and not self.pending_bytes and self._wire is not None:
            self._wire.closing = True
            self._wire.inner.close()
        else:
            self.cut()

    def cut(self) -> None:
        """End the connection now, without what is not sent yet."""
        if self._wire is not None:
            self._wire.closing = True
            self._wire.inner.abort()


class ProbeProtocol(ApiProtocol):
    """The protocol of probes: a connection is limited in bytes as a whole, and broken HTTP is a 404."""

    not_http = problems.NOT_FOUND
    bytes_max = 8 * 1024


def _disconnect(cycle: RequestResponseCycle) -> None:
    cycle.disconnected = True
    cycle.message_event.set()


def _document(problem: RequestProblem, path: str) -> bytes:
    return problems.encode(problems.details(problem, instance=path, request_id="none"))


def _answer_of(problem: RequestProblem, more: list[tuple[bytes, bytes]]) -> bytes:
    content = _document(problem, "")
    headers = (
        *more,
        (b"content-type", b"application/problem+json"),
        (b"content-length", b"%d" % len(content)),
        _CLOSE,
    )
    lines = b"".join(b"%s: %s\r\n" % header for header in headers)
    return STATUS_LINE[problem.type.status] + lines + b"\r\n" + content


async def _refuse_busy(path: str, send: Send) -> None:
    content = _document(RequestProblem(TOO_MANY_CONNECTIONS), path[:200])
    headers = [
        (b"content-type", b"application/problem+json"),
        (b"content-length", b"%d" % len(content)),
        (b"retry-after", b"1"),
        _CLOSE,
    ]
    await send({"type": "http.response.start", "status": TOO_MANY_CONNECTIONS.status, "headers": headers})
    await send({"type": "http.response.body", "body": content, "more_body": False})


def factory(protocol: type[ApiProtocol], room: Room) -> Any:
    """Return what uvicorn makes a protocol with."""
    return functools.partial(protocol, room=room)
