"""Following a log over lost links, without the I/O: which attempt to read, what of it was delivered already, when it ends.

The end of a stream is never taken for the end of the job: only the job's record says that. After a lost link the log is
read again and what was delivered is skipped, by its length; a log that was asked for by its tail has no known length, so
there the last bytes delivered are looked for instead (that may repeat lines, and loses none).
"""

from __future__ import annotations

import codecs
from collections.abc import Iterator
from typing import Literal

from kube_job_runner.client.errors import ApiError
from kube_job_runner.client.models import Job, LogChunk

_ANCHOR_BYTES = 4096
_PATIENCE_SECONDS = 5.0
_PATIENCE_MISSING_SECONDS = 2.0

Step = Literal["stream", "wait", "end"]


class LogCursor:
    """Where a reader stands in the logs of a job's attempts."""

    def __init__(self, *, attempt: int | None, tail: int | None) -> None:
        self.pinned = attempt
        self.attempt = attempt or 0
        self.complete = False
        """Whether the last stream of this attempt was ended by the server, not by a fault of the link."""
        self.gap = False
        """Whether a log was found to be shorter than before: it was rotated, or its pod replaced."""
        self._tail = tail
        self._error: ApiError | None = None
        self._final = False
        self._any = False
        self._delivered_bytes = 0
        self._skip_bytes = 0
        self._anchor = b""
        self._search: bytearray | None = None

    def step(self, job: Job) -> Step:
        """Return what to do next, given the job's record: read the attempt's log, wait for a change, or stop."""
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
        """Whether the server gave the log of this attempt to its present end, or said that there is none."""
        return self.complete or (self._error is not None and self._final)

    @property
    def told(self) -> bool:
        """Whether the server answered at all, as far as it could."""
        return self.complete or self._error is not None

    def over(self, job: Job) -> bool:
        """Whether nothing more will be written to the log of the attempt being read."""
        return job.terminal or job.attempt > self.attempt or job.state == "queued"

    def open(self) -> int | None:
        """Prepare for a stream of the attempt's log and return the `tail` to ask for."""
        self.complete, self._error = False, None
        if self._delivered_bytes == 0:
            self._skip_bytes, self._search = 0, None
            return self._tail
        if self._tail is None:
            self._skip_bytes = self._delivered_bytes
        else:
            self._search = bytearray()
        return None

    def feed(self, data: bytes) -> LogChunk | None:
        """Take a piece of the stream; return what of it is new."""
        if self._search is not None:
            data = self._after_anchor(data)
        elif self._skip_bytes:
            cut = min(self._skip_bytes, len(data))
            self._skip_bytes -= cut
            data = data[cut:]
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
        """Note the answer that there is no log of this attempt; unless it is `final`, it is asked again at its end."""
        self._error, self._final = error, final

    def check(self) -> None:
        """Raise the server's answer when there was no log at all: an empty log is not the same as none."""
        if self._error is not None and not self._any:
            raise self._error

    @property
    def patience_seconds(self) -> float:
        """How long to wait for the record to agree before the log is looked at again."""
        if self.complete:
            return _PATIENCE_SECONDS
        return _PATIENCE_MISSING_SECONDS if self._error else 0.0

    def _next_attempt(self, job: Job) -> None:
        self.attempt = min(self.attempt + 1, job.attempt)
        self.complete, self._error = False, None
        self._tail = None
        self._delivered_bytes, self._anchor = 0, b""

    def _after_anchor(self, data: bytes) -> bytes:
        search = self._search
        if search is None:
            return data
        search += data
        found = search.find(self._anchor)
        if found < 0:
            del search[: max(0, len(search) - len(self._anchor))]
            return b""
        self._search = None
        return bytes(search[found + len(self._anchor) :])


class LineSplitter:
    """Makes lines of chunks: UTF-8, bytes that are not are replaced, split at line feeds only."""

    def __init__(self) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._parts: list[str] = []
        self._attempt = 0

    def feed(self, chunk: LogChunk) -> Iterator[str]:
        """Yield the lines that a chunk completes."""
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
        """Yield the last line when it had no line feed."""
        rest = "".join(self._parts) + self._decoder.decode(b"", final=True)
        self._parts.clear()
        self._decoder.reset()
        if rest:
            yield rest
