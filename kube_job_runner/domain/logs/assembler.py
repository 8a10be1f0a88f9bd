"""Assembles the new lines of one container's log into chunks, within its cap."""

from array import array
from collections import deque
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from kube_job_runner.domain.logs.chunks import Body, Chunk, encode_body
from kube_job_runner.domain.logs.stamps import NO_STAMP, Piece

CHUNK_BYTES = 128 * 1024


class Kept(NamedTuple):
    """What the cap needs of a stored chunk."""

    seq: int
    size_bytes: int
    lines: int


class Assembler:
    """Makes the chunks of one container's log, and says which to drop to stay within the cap.

    The first half of the cap is for the beginning of the log, the other half for its end. A mark between them counts what
    was left out. Its number is reserved when the first half is full.
    """

    def __init__(self, container: str, *, max_bytes: int, chunk_bytes: int = CHUNK_BYTES) -> None:
        self.container = container
        self._max_bytes = max_bytes
        self._chunk_bytes = min(chunk_bytes, max(1, max_bytes // 4))
        self._seq = 1
        self._mark_seq = 0
        self._mark_place = (1, 0)
        self._left_out = [0, 0]
        self._head_bytes = 0
        self._tail: deque[Kept] = deque()
        self._tail_bytes = 0
        self.lines = 0
        self.total_bytes = 0
        self.open_bytes = 0
        self.last_stamp = 0
        self._parts: list[bytes] = []
        self._size = 0
        self._stamps = array("q")
        self._continues = False
        self._ready: list[Chunk] = []
        self._dropped: list[int] = []
        self._stored_size = 0

    def restore(self, stored: Sequence[Chunk], last: Body | None) -> None:
        """Continue from the stored chunks: all of them in order, without their data, and the body of the last, unsealed one."""
        half = self._max_bytes // 2
        for chunk in stored:
            self._seq = chunk.seq + 1
            if chunk.mark:
                if chunk.size_bytes:
                    self._mark_seq, self._left_out = chunk.seq, [chunk.size_bytes, chunk.lines]
                    self._mark_place = (chunk.first_line, chunk.first_byte)
                continue
            self.lines = chunk.first_line + chunk.lines - 1
            self.total_bytes = chunk.first_byte + chunk.size_bytes
            self.open_bytes = chunk.open_bytes
            self.last_stamp = chunk.last_stamp
            if last is not None and chunk is stored[-1] and not chunk.sealed:
                self._seq = chunk.seq
                self._parts, self._size, self._stamps = [last.content], chunk.size_bytes, last.stamps
                self._continues, self._stored_size = chunk.continues, chunk.size_bytes
            else:
                self._keep(Kept(chunk.seq, chunk.size_bytes, chunk.lines), chunk.first_byte, half)

    def feed(self, pieces: Iterable[Piece]) -> None:
        for stamp, data in pieces:
            if not data:
                continue
            if self.open_bytes == 0:
                if self._size >= self._chunk_bytes:
                    self._seal()
                self.last_stamp = stamp if stamp != NO_STAMP else self.last_stamp
                self.lines += 1
                self._stamps.append(self.last_stamp)
            self._append(data)

    def reserve_head(self) -> None:
        """Reserve the number of a mark before the first line, for `head_gap`. Call it before any line is added."""
        self._seq = 2

    def head_gap(self, text: str) -> None:
        self._ready.append(Chunk(container=self.container, seq=1, sealed=True, mark=text))

    def _append(self, data: bytes) -> None:
        while data:
            if self._size >= self._chunk_bytes:
                self._seal()
            if not self._size:
                self._continues = not self._stamps
            part = data[: self._chunk_bytes - self._size] if len(data) > self._chunk_bytes - self._size else data
            data = data[len(part) :]
            self._parts.append(part)
            self._size += len(part)
            self.total_bytes += len(part)
            self.open_bytes = 0 if part.endswith(b"\n") else self.open_bytes + len(part)

    def gap(self, text: str) -> None:
        """Put a mark where lines may be missing."""
        self._seal()
        self._ready.append(
            Chunk(
                container=self.container,
                seq=self._seq,
                first_line=self.lines + 1,
                first_byte=self.total_bytes,
                sealed=True,
                mark=text,
            )
        )
        self._seq += 1
        self.open_bytes = 0

    @property
    def trimmed(self) -> bool:
        """Whether the cap has left something out."""
        return self._left_out[0] > 0

    @property
    def waiting_bytes(self) -> int:
        """Bytes that were added, and that `take` has not returned yet."""
        return sum(chunk.size_bytes for chunk in self._ready if not chunk.mark) + self._size - self._stored_size

    def take(self, *, final: bool = False) -> tuple[list[Chunk], list[int]]:
        """Return the chunks to store (new or grown), and the numbers of those to drop. `final` seals the last chunk."""
        if final:
            self._seal()
        chunks, dropped = self._ready, self._dropped
        self._ready, self._dropped = [], []
        if self._size > self._stored_size:
            chunks.append(self._chunk(sealed=False))
            self._stored_size = self._size
        if dropped:
            gone = set(dropped)
            chunks = [chunk for chunk in chunks if chunk.seq not in gone]
            chunks.append(self._mark())
        return chunks, dropped

    def _chunk(self, *, sealed: bool) -> Chunk:
        content = b"".join(self._parts)
        self._parts = [content]
        return Chunk(
            container=self.container,
            seq=self._seq,
            first_line=self.lines - len(self._stamps) + 1,
            lines=len(self._stamps),
            first_byte=self.total_bytes - self._size,
            size_bytes=self._size,
            open_bytes=self.open_bytes,
            continues=self._continues,
            sealed=sealed,
            first_stamp=min(self._stamps, default=self.last_stamp),
            last_stamp=max(self._stamps, default=self.last_stamp),
            data=encode_body(Body(content, self._stamps)),
        )

    def _seal(self) -> None:
        if not self._size:
            return
        chunk = self._chunk(sealed=True)
        self._ready.append(chunk)
        self._seq += 1
        self._parts, self._size, self._stamps, self._stored_size = [], 0, array("q"), 0
        self._keep(Kept(chunk.seq, chunk.size_bytes, chunk.lines), chunk.first_byte, self._max_bytes // 2)

    def _keep(self, kept: Kept, first_byte: int, half: int) -> None:
        if first_byte < half and not self._mark_seq:
            self._head_bytes = first_byte + kept.size_bytes
            if self._head_bytes >= half:
                self._mark_seq, self._seq = self._seq, self._seq + 1
                self._mark_place = (self.lines + 1, self._head_bytes)
            return
        self._tail.append(kept)
        self._tail_bytes += kept.size_bytes
        while self._tail_bytes > self._max_bytes - self._head_bytes and len(self._tail) > 1:
            oldest = self._tail.popleft()
            self._tail_bytes -= oldest.size_bytes
            self._left_out[0] += oldest.size_bytes
            self._left_out[1] += oldest.lines
            self._dropped.append(oldest.seq)

    def _mark(self) -> Chunk:
        count, lines = self._left_out
        return Chunk(
            container=self.container,
            seq=self._mark_seq,
            first_line=self._mark_place[0],
            first_byte=self._mark_place[1],
            size_bytes=count,
            lines=lines,
            sealed=True,
            mark=f"{count} bytes ({lines} lines) left out here: the log is above its limit of {self._max_bytes} bytes",
        )
