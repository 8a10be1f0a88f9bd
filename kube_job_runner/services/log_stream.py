"""Streams one container's log from the cluster into chunks, without the lines that are stored already."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from datetime import UTC, datetime

from kube_job_runner.domain.logs import rotation
from kube_job_runner.domain.logs.assembler import Assembler
from kube_job_runner.domain.logs.chunks import Chunk
from kube_job_runner.domain.logs.node_words import NodeWords
from kube_job_runner.domain.logs.resume import Resume
from kube_job_runner.domain.logs.rotation import Rotation
from kube_job_runner.domain.logs.stamps import Piece, StampParser
from kube_job_runner.ports import ClusterLogs, LogCollectStore, LogWork
from kube_job_runner.telemetry import loggers, metrics

log = loggers.get_logger(__name__)

HELD_BYTES = 512 * 1024
"""Reading pauses when this much waits to be stored."""
WHOLE_BYTES = 1024 * 1024
"""A log up to this size is always read from its beginning."""
_MARGIN_SECONDS = 2  # `sinceTime` is in whole seconds, and lines may be a little out of order


class NodeSpoke(Exception):
    """The stream ended with words of the node in the place of the log, or of its rest."""


class LogStream:
    """Reads the log of one container, over any number of connections."""

    def __init__(
        self, work: LogWork, container: str, *, cluster: ClusterLogs, store: LogCollectStore, max_bytes: int
    ) -> None:
        self.container = container
        self.opened_at: float | None = None
        self._room = asyncio.Event()
        self._room.set()
        self._work = work
        self._cluster = cluster
        self._store = store
        self._assembler = Assembler(container, max_bytes=max_bytes)
        self._counted_lines = 0
        self._restored = work.status == ""
        self._rotation = Rotation()
        self._ask_from: int | None = None

    @property
    def read_bytes(self) -> int:
        return self._assembler.total_bytes

    @property
    def large(self) -> bool:
        """Whether a kubelet may have rotated the log."""
        return self.read_bytes >= rotation.ROTATES_BYTES

    @property
    def full(self) -> bool:
        """Whether the lines that were read must be stored before more are read."""
        return self._assembler.waiting_bytes >= HELD_BYTES

    def take(self, *, final: bool = False) -> tuple[list[Chunk], list[tuple[str, int]]]:
        """Return the chunks to store, and (container, seq) of those to drop."""
        before = self._assembler.waiting_bytes
        chunks, dropped = self._assembler.take(final=final)
        metrics.log_bytes.inc(before)
        metrics.log_lines.inc(self._assembler.lines - self._counted_lines)
        self._counted_lines = self._assembler.lines
        self._room.set()
        return chunks, [(self.container, seq) for seq in dropped]

    def mark(self, text: str) -> None:
        """Put a mark at the end of the log."""
        self._assembler.gap(text)

    async def restore(self) -> None:
        """Continue from what an earlier collector has stored."""
        if self._restored:
            return
        stored = await self._store.stored(self._work.key, self.container)
        self._assembler.restore(stored.chunks, stored.last)
        self._counted_lines = self._assembler.lines
        self._restored = True

    async def read(
        self, pod_name: str, *, follow: bool, now: datetime | None = None, started_at: datetime | None = None
    ) -> bool:
        """Read to the end of the log; with `follow`, to the end of the container. Call it only when all chunks are stored.

        Returns False when the log must be read again: the kubelet may be at the end of a file that was rotated away, or it
        sends a file a second time. `now`, and `started_at` of the container, are times of the node or near them.

        Raises:
            NotFound, ClusterRefused, TemporaryError: as `ports.ClusterLogs.logs`. The lines that came before are kept.
            NodeSpoke: the node answered with an error of its own. The lines that came before are kept.
        """
        resume, since = await self._position()
        parser, node = StampParser(), NodeWords()
        self._rotation.open(at_seconds=_monotonic(), follow=follow, now=now, started_at=started_at)
        chunks: AsyncIterator[bytes] = self._cluster.logs(
            self._work.namespace, pod_name, container=self.container, follow=follow, since=since, timestamps=True
        )
        self.opened_at = _monotonic()
        async with contextlib.aclosing(chunks):  # type: ignore[type-var]  # every adapter gives a generator
            while True:
                try:
                    async with asyncio.timeout(self._rotation.quiet_seconds):
                        data = await anext(chunks, None)
                except TimeoutError:
                    self._rotation.end()
                    return False
                if data is None:
                    break
                self._rotation.receive(len(data))
                if not self._feed(resume, node.feed(parser.feed(data))):
                    return False
                if self.full:
                    self._room.clear()
                    await self._room.wait()
        if not (self._feed(resume, node.feed(parser.flush())) and self._feed(resume, None)):
            return False
        self._rotation.end()
        if node.text:
            raise NodeSpoke(node.text)
        return True

    def _feed(self, resume: Resume, read: list[Piece] | None) -> bool:
        """Add the new lines of these pieces (None: the stream ended). Return False if the kubelet begins to repeat a file."""
        had_gap = resume.gap
        pieces = resume.flush() if read is None else resume.feed(read)
        if not pieces:
            return True
        if resume.gap and not had_gap:
            self._mark_gap(resume, pieces[0].stamp)
        if self._assembler.lines == 0 and self._rotation.begin(pieces[0].stamp):
            self._assembler.reserve_head()
        repeats_at = self._rotation.repeats_at(pieces)
        if repeats_at >= 0:
            self._ask_from = pieces[repeats_at].stamp
            log.info(
                "the kubelet repeats the log, or the node's clock was set back; reading again",
                action="log.repeat",
                container=self.container,
            )
            pieces = pieces[:repeats_at]
        for part in self._rotation.split(pieces, at_seconds=_monotonic()):
            if part.file_missing:
                self._assembler.gap(rotation.BEHIND_TEXT)
            self._assembler.feed(part.pieces)
        if self._rotation.misses_beginning(
            total_bytes=self._assembler.total_bytes, last_stamp=self._assembler.last_stamp
        ):
            self._assembler.head_gap(rotation.HEAD_TEXT)
        return repeats_at < 0

    def _mark_gap(self, resume: Resume, first_stamp: int) -> None:
        """Put a mark before lines that do not continue the known ones, unless nothing can be missing."""
        last_stamp = self._assembler.last_stamp
        if resume.begins_later and self._rotation.continues(first_stamp, last_stamp=last_stamp):
            return
        log.warning(
            "log rotated while it was not read", action="log.rotate", container=self.container, **resume.describe()
        )
        self._assembler.gap(rotation.GAP_TEXT)

    async def _position(self) -> tuple[Resume, datetime | None]:
        """Return how to recognise stored lines, and the time to read from (None: from the beginning).

        A small log is read from its beginning, so that not even a clock that was set back hides a line.
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


def _monotonic() -> float:
    return asyncio.get_running_loop().time()
