"""One container's log on its way into the store: read, past what is stored already, and cut into chunks."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from datetime import UTC, datetime

import msgspec

from kube_job_runner.domain.logs import loglines
from kube_job_runner.domain.logs.loglines import Assembler, Chunk, Piece, Resume, StampParser
from kube_job_runner.ports import ClusterLogs, LogCollectStore, LogWork
from kube_job_runner.telemetry import loggers, metrics

log = loggers.get_logger(__name__)

HELD_BYTES = 512 * 1024
WHOLE_BYTES = 1024 * 1024
_MARGIN_SECONDS = 2
_ROTATES_BYTES = 1024 * 1024  # a kubelet's containerLogMaxSize is 10 MiB, and hardly anywhere less than this
_QUIET_SECONDS = 3.0
_GAP = "lines may be missing here: the log was rotated while it was not read"
_BEHIND = "lines may be missing here: the log was rotated faster than the kubelet gave it out"
_HEAD = "lines may be missing before this: the log was rotated before it was read"
_FAST_BYTES = 256 * 1024
_BEFORE_BYTES = 8 * 1024 * 1024


class Stream:
    """Reads one container's log, as often as it takes, into one `Assembler`."""

    def __init__(
        self, work: LogWork, container: str, *, cluster: ClusterLogs, store: LogCollectStore, max_bytes: int
    ) -> None:
        self.container = container
        self.opened_at: float | None = None
        self.room = asyncio.Event()
        self.room.set()
        self._work = work
        self._cluster = cluster
        self._store = store
        self._assembler = Assembler(container, max_bytes=max_bytes)
        self._counted_lines = 0
        self._restored = work.status == ""
        self._at_end = self._was_at_end = False
        self._following = False
        self._connection_bytes = 0
        self._arrived_at = 0.0
        self._last_stamp = self._opened_stamp = self._started_stamp = 0
        self._ask_from: int | None = None
        self._head: tuple[int, int] | None = None
        self._rate = loglines.Rate()

    @property
    def read_bytes(self) -> int:
        """Bytes that the container has printed, as far as they were read."""
        return self._assembler.total_bytes

    @property
    def large(self) -> bool:
        """Whether a kubelet may have rotated it."""
        return self.read_bytes >= _ROTATES_BYTES

    @property
    def full(self) -> bool:
        """Whether what was read has to be stored before more is read."""
        return self._assembler.waiting_bytes >= HELD_BYTES

    def take(self, *, final: bool = False) -> tuple[list[Chunk], list[tuple[str, int]]]:
        """Return the chunks to store and those to drop."""
        before = self._assembler.waiting_bytes
        chunks, dropped = self._assembler.take(final=final)
        metrics.log_bytes.inc(before)
        metrics.log_lines.inc(self._assembler.lines - self._counted_lines)
        self._counted_lines = self._assembler.lines
        self.room.set()
        return chunks, [(self.container, seq) for seq in dropped]

    def mark(self, text: str) -> None:
        """Put a mark at the end of what is there."""
        self._assembler.gap(text)

    async def restore(self) -> None:
        """Go on from what an earlier collector has stored."""
        if self._restored:
            return
        stored = await self._store.stored(self._work.key, self.container)
        self._assembler.restore(stored.chunks, stored.last)
        self._counted_lines = self._assembler.lines
        self._restored = True

    async def read(
        self, pod_name: str, *, follow: bool, now: datetime | None = None, started_at: datetime | None = None
    ) -> bool:
        """Read to the end of the log, or, with `follow`, of the container. All that was taken must be stored by now.

        False: the kubelet may be reading a file that was rotated away, or one for the second time; ask again. `now` is about
        the present, `started_at` when the container started, both by the node's clock or one near it.

        Raises:
            NotFound, ClusterRefused, TemporaryError: as `ports.ClusterLogs.logs`; what came before that is kept.
        """
        resume, since = await self._position()
        parser = StampParser()
        self._following = follow
        self._connected(now, started_at)
        chunks: AsyncIterator[bytes] = self._cluster.logs(
            self._work.namespace, pod_name, container=self.container, follow=follow, since=since, timestamps=True
        )
        self.opened_at = asyncio.get_running_loop().time()
        async with contextlib.aclosing(chunks):  # type: ignore[type-var]  # every adapter gives a generator
            while True:
                try:
                    async with asyncio.timeout(_QUIET_SECONDS if follow and self._rotatable else None):
                        data = await anext(chunks, None)
                except TimeoutError:
                    self._at_end = True
                    return False
                if data is None:
                    break
                self._connection_bytes += len(data)
                if not self._feed(resume, parser.feed(data)):
                    return False
                if self.full:
                    self.room.clear()
                    await self.room.wait()
        again = not self._feed(resume, parser.flush()) or not self._feed(resume, None)
        self._at_end = not again
        return not again

    @property
    def _rotatable(self) -> bool:
        return self._connection_bytes >= _ROTATES_BYTES

    def _connected(self, now: datetime | None, started_at: datetime | None) -> None:
        self._was_at_end, self._at_end = self._at_end, False
        self._connection_bytes = 0
        self._arrived_at = asyncio.get_running_loop().time()
        self._opened_stamp = int(now.timestamp()) * 1_000_000_000 if now is not None else 0
        self._last_stamp = 0
        self._rate = loglines.Rate()
        self._started_stamp = int(started_at.timestamp()) * 1_000_000_000 if started_at is not None else 0

    def _feed(self, resume: Resume, read: list[Piece] | None) -> bool:
        """Take in what is new of what was read, None for its end; False when it begins to repeat itself."""
        gap = resume.gap
        pieces = resume.flush() if read is None else resume.feed(read)
        if not pieces:
            return True
        if resume.gap and not gap and not self._joins(resume, pieces[0]):
            log.warning(
                "log rotated while it was not read", action="log.rotate", container=self.container, **resume.describe()
            )
            self._assembler.gap(_GAP)
        self._watch_start(pieces[0].stamp)
        repeats = loglines.step_back(pieces, last_stamp=self._last_stamp) if self._rotatable else -1
        if repeats >= 0:
            self._ask_from = pieces[repeats].stamp
            log.info(
                "log comes again, or the node's clock was set back; asking anew",
                action="log.repeat",
                container=self.container,
            )
            pieces = pieces[:repeats]
        self._take_in(pieces)
        self._mark_start()
        return repeats < 0

    def _joins(self, resume: Resume, first: Piece) -> bool:
        """Whether a newer file begins where the one before it, which was read to its end, was rotated away.

        With another file between them more time would have passed.
        """
        waited = first.stamp - self._assembler.last_stamp
        return self._was_at_end and resume.begins_later and 0 <= waited < loglines.ROTATION_NANOSECONDS

    def _take_in(self, pieces: list[Piece]) -> None:
        now = asyncio.get_running_loop().time()
        idle_nanoseconds = int((now - self._arrived_at) * 1_000_000_000)
        self._arrived_at = now
        while self._rotatable:
            rate = self._rate.bytes_per_second
            index = loglines.fast_rotation(
                pieces, last_stamp=self._last_stamp, since_stamp=self._opened_stamp, bytes_per_second=rate
            )
            if index < 0:
                break
            gap = pieces[0].stamp - self._last_stamp
            if index > 0 or loglines.hides_a_file(gap, idle_nanoseconds=idle_nanoseconds, bytes_per_second=rate):
                self._feed_assembler(pieces[:index])
                self._assembler.gap(_BEHIND)
            self._rate.pause()
            self._feed_assembler(pieces[index : index + 1])
            pieces = pieces[index + 1 :]
        self._feed_assembler(pieces)

    def _feed_assembler(self, pieces: list[Piece]) -> None:
        self._assembler.feed(pieces)
        self._last_stamp = next((piece.stamp for piece in reversed(pieces) if piece.stamp >= 0), self._last_stamp)
        self._rate.feed(pieces, last_stamp=self._last_stamp)

    def _watch_start(self, stamp: int) -> None:
        """Note when a log begins late after its container's start.

        A start is known to the second, so what is rotated away within the first one goes unnoticed. What comes while it
        is followed was not rotated away before.
        """
        seen = self._following and stamp > self._opened_stamp + 1_000_000_000
        if self._assembler.lines == 0 and self._started_stamp and stamp > 0 and not seen:
            late = stamp - self._started_stamp - 1_000_000_000
            if late > 0:
                self._assembler.reserve_head()
                self._head = (stamp, late)

    def _mark_start(self) -> None:
        """Mark the beginning when what comes there comes so fast that a file, rotated away, can lie before it."""
        if self._head and self._assembler.total_bytes >= _FAST_BYTES:
            (begun, late), self._head = self._head, None
            if late * self._assembler.total_bytes >= (self._assembler.last_stamp - begun) * _BEFORE_BYTES:
                self._assembler.head_gap(_HEAD)

    async def _position(self) -> tuple[Resume, datetime | None]:
        """Return what will come again, and from when on to ask.

        A small log is asked for entirely: then not even a clock that was set back hides a line.
        """
        assembler = self._assembler
        if assembler.lines == 0:
            return Resume((), open_bytes=0), None
        whole = assembler.total_bytes <= WHOLE_BYTES and not assembler.trimmed
        ask_from = min(assembler.last_stamp, assembler.last_stamp if self._ask_from is None else self._ask_from)
        self._ask_from = None
        seconds = 0 if whole else ask_from // 1_000_000_000 - _MARGIN_SECONDS
        known = await self._store.stamps_since(self._work.key, self.container, seconds * 1_000_000_000)
        resume = Resume(known, open_bytes=assembler.open_bytes, trimmed=assembler.trimmed)
        return resume, None if whole else datetime.fromtimestamp(seconds, UTC)


class CollectSettings(msgspec.Struct, frozen=True, kw_only=True):
    """Sizes and times of the log-collector."""

    max_bytes: int = 64 * 1024 * 1024
    follow_after_seconds: float = 5.0
    follows_max: int = 200
    deadline_seconds: float = 600.0
    cleanup_delay_seconds: float = 300.0
    lease_seconds: float = 30.0
    snapshots_max: int = 16
    poll_seconds: float = 1.0
    pace_seconds: float = 0.25
    first_flush_seconds: float = 0.1
    flush_seconds: float = 0.3
    quiet_flush_seconds: float = 2.0
    retry_seconds: float = 0.5
    retry_max_seconds: float = 10.0
