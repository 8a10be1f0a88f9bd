"""The position of a reader in the log of a job, without I/O: which attempt to read, which bytes are new, when the log ends.

The end of a stream is not the end of the job: only the job's record says that the job has ended.

The server sends the log in frames. Each frame has the place that follows it. After a lost connection, the log is requested
from the last place on, and bytes that were delivered beyond it are skipped. So no byte is lost or repeated.

A server without frames sends plain bytes. Then the log is read again from its start, and as many bytes are skipped as were
delivered. With a tail, the last delivered bytes are searched instead. This may repeat lines, but it loses none.
"""

import codecs
from collections.abc import Iterator
from typing import Literal, TypedDict, Unpack

from kube_job_runner.client.errors import ApiError
from kube_job_runner.client.models import Job, LogChunk

FRAMES = "application/vnd.kube-job-runner.log-frames"
_ANCHOR_BYTES = 4096
_PATIENCE_SECONDS = 5.0
_PATIENCE_MISSING_SECONDS = 2.0

Step = Literal["stream", "wait", "end"]


class LogView(TypedDict, total=False):
    """The part of a log to show. `since` is a duration before now (`10m`) or an RFC 3339 time, `grep` a plain text."""

    since: str | None
    grep: str | None
    container: str | None
    timestamps: bool


class LogOptions(LogView, total=False):
    """The log to show: the part, its last `tail` lines, and the number of the attempt."""

    tail: int | None
    attempt: int | None


def _view_params(
    since: str | None = None, grep: str | None = None, container: str | None = None, timestamps: bool = False
) -> dict[str, str]:
    given = {"since": since, "grep": grep, "container": container, "timestamps": "true" if timestamps else None}
    return {name: value for name, value in given.items() if value is not None}


class _Frames:
    """A parser of frames. A frame is a line with the place after it and its length, then that many bytes."""

    def __init__(self) -> None:
        self._head = b""
        self._left = 0
        self._place = ""

    def feed(self, data: bytes) -> Iterator[tuple[bytes, str]]:
        """Yield pieces of frames. Only the last piece of a frame comes with its place."""
        while data:
            if self._left == 0:
                head, found, data = data.partition(b"\n")
                self._head += head
                if not found:
                    return
                place, _, length = self._head.partition(b" ")
                self._head, self._place, self._left = b"", place.decode("ascii", "replace"), int(length)
                if self._left == 0:
                    yield b"", self._place
                continue
            piece, data = data[: self._left], data[self._left :]
            self._left -= len(piece)
            yield piece, "" if self._left else self._place


class LogCursor:
    """The position of a reader in the logs of a job's attempts."""

    def __init__(self, *, attempt: int | None = None, tail: int | None = None, **view: Unpack[LogView]) -> None:
        self.pinned = attempt
        self.attempt = attempt or 0
        self.complete = False
        """Whether the server ended the last stream of this attempt, and not a connection error."""
        self.gap = False
        """Whether a log was shorter than before, because it was rotated or its pod was replaced."""
        self._tail = tail
        self._view = _view_params(**view)
        self._frames: _Frames | None = None
        self._place = ""
        self._beyond_bytes = 0
        self._error: ApiError | None = None
        self._final = False
        self._any = False
        self._delivered_bytes = 0
        self._skip_bytes = 0
        self._anchor = b""
        self._search: bytearray | None = None

    def step(self, job: Job) -> Step:
        """Return the next step for this record of the job: read the log of the attempt, wait for a change, or stop."""
        if self.attempt == 0:
            self.attempt = job.attempt
        if self.attempt == 0 or job.attempt < self.attempt:
            if not job.terminal:
                return "wait"
            return "end" if self.answered else "stream"
        if not self.answered or not self.over(job):
            return "stream"
        if self.pinned is None and job.attempt > self.attempt:
            self._next_attempt(job)
            return "stream"
        return "end" if job.terminal or self.pinned is not None else "wait"

    @property
    def answered(self) -> bool:
        """Whether the server has sent the log of this attempt up to its current end, or said that there is no log."""
        return self.complete or (self._error is not None and self._final)

    @property
    def replied(self) -> bool:
        """Whether the server has answered at all, with a complete stream or with an error."""
        return self.complete or self._error is not None

    def over(self, job: Job) -> bool:
        """Whether the attempt has ended, so that its log grows no more."""
        return job.terminal or job.attempt > self.attempt or job.state == "queued"

    def open(self) -> dict[str, str]:
        """Prepare for a new stream, and return the parameters of its request."""
        self.complete, self._error = False, None
        params = self._view | {"frames": "true"}
        self._frames = None
        self._skip_bytes, self._search = 0, None
        if self._place:
            self._skip_bytes = self._beyond_bytes
            return params | {"after": self._place}
        if self._delivered_bytes == 0:
            return params if self._tail is None else params | {"tail": str(self._tail)}
        if self._tail is None:
            self._skip_bytes = self._delivered_bytes
        else:
            self._search = bytearray()
        return params

    def begin(self, content_type: str) -> None:
        """Note the format of the answer."""
        if content_type.partition(";")[0].strip() == FRAMES:
            self._frames = _Frames()

    def feed(self, data: bytes) -> LogChunk | None:
        """Take a piece of the stream. Return the new bytes in it, or None."""
        if self._frames is not None:
            return self._new(b"".join(self._framed(data)))
        return self._new(self._skipped(data) if self._search is None else self._after_anchor(self._search, data))

    def _framed(self, data: bytes) -> Iterator[bytes]:
        assert self._frames is not None
        for piece, place in self._frames.feed(data):
            self._beyond_bytes += len(piece)
            new = self._skipped(piece)
            if new:
                yield new
            if place:
                self._place, self._beyond_bytes = place, 0

    def _skipped(self, data: bytes) -> bytes:
        if not self._skip_bytes:
            return data
        cut = min(self._skip_bytes, len(data))
        self._skip_bytes -= cut
        self._beyond_bytes -= cut if self._frames is not None else 0
        return data[cut:]

    def _new(self, data: bytes) -> LogChunk | None:
        if not data:
            return None
        self._any = True
        self._delivered_bytes += len(data)
        if self._tail is not None:
            self._anchor = (self._anchor + data)[-_ANCHOR_BYTES:]
        return LogChunk(self.attempt, data)

    def close(self) -> None:
        """Note that the server ended the stream."""
        self.complete = True
        if self._skip_bytes or self._search is not None:
            self.gap = True

    def missing(self, error: ApiError, *, final: bool) -> None:
        """Note that the attempt has no log. Unless `final` is set, the log is requested again after the end of the attempt."""
        self._error, self._final = error, final

    def check(self) -> None:
        """Raise the error of the server if there was no log at all. An empty log is not an error."""
        if self._error is not None and not self._any:
            raise self._error

    @property
    def patience_seconds(self) -> float:
        """Seconds to wait for the record to show the end of the attempt, before the log is read again."""
        if self.complete:
            return _PATIENCE_SECONDS
        return _PATIENCE_MISSING_SECONDS if self._error else 0.0

    def _next_attempt(self, job: Job) -> None:
        self.attempt = min(self.attempt + 1, job.attempt)
        self.complete, self._error = False, None
        self._tail = None
        self._delivered_bytes, self._anchor = 0, b""
        self._place, self._beyond_bytes = "", 0

    def _after_anchor(self, search: bytearray, data: bytes) -> bytes:
        search += data
        found = search.find(self._anchor)
        if found < 0:
            del search[: max(0, len(search) - len(self._anchor))]
            return b""
        self._search = None
        return bytes(search[found + len(self._anchor) :])


class LineSplitter:
    """Splits chunks into lines at line feeds. The encoding is UTF-8; invalid bytes are replaced."""

    def __init__(self) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._parts: list[str] = []
        self._attempt = 0

    def feed(self, chunk: LogChunk) -> Iterator[str]:
        """Yield the lines that end in a chunk."""
        if chunk.attempt != self._attempt:
            yield from self.flush()
            self._attempt = chunk.attempt
        pieces = self._decoder.decode(chunk.data).split("\n")
        for piece in pieces[:-1]:
            self._parts.append(piece)
            yield "".join(self._parts)
            self._parts.clear()
        if pieces[-1]:
            self._parts.append(pieces[-1])

    def flush(self) -> Iterator[str]:
        """Yield the last line if it has no line feed."""
        rest = "".join(self._parts) + self._decoder.decode(b"", final=True)
        self._parts.clear()
        self._decoder.reset()
        if rest:
            yield rest
