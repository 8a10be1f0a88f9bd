"""Log lines, without the I/O: from a stamped stream to chunks, past what is stored already, and within a cap.

The kubelet puts the time of its first part before every line (RFC 3339 with nanoseconds, `types.RFC3339NanoFixed`), one space
after it, and glues the 16 KiB parts of a long line together without stamps in between (cri-client/pkg/logs, ReadLogs). A
`sinceTime` is judged part by part, so a stream may begin with the rest of a line whose beginning is older.
"""

from __future__ import annotations

import functools
import re
import struct
import zlib
from array import array
from collections import deque
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import NamedTuple

import msgspec

CHUNK_BYTES = 128 * 1024
NO_STAMP = -1
_PREFIX_MAX = 40
_CANDIDATES_MAX = 10_000
_TORN_MAX_BYTES = 1024 * 1024
_OVERTAKEN_NANOSECONDS = 10_000_000
ROTATION_NANOSECONDS = 2_500_000_000
"""Less than lies between two rotations: a kubelet looks every three seconds at most (ContainerLogMonitorInterval)."""
ROTATED_BYTES = 8 * 1024 * 1024
"""Less than a file holds that a kubelet has rotated away (containerLogMaxSize, 10 MiB)."""
_STRETCH_BYTES = 256 * 1024
_BURST_NANOSECONDS = 500_000_000
_STALL_NANOSECONDS = 5_000_000_000
_STAMP = re.compile(rb"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.(\d{1,9})\d*)?(Z|[+-]\d\d:\d\d)")
_COUNT = struct.Struct("<I")


class Piece(NamedTuple):
    """A line or a part of one. `stamp` is the line's time in nanoseconds since 1970, or -1 where the line goes on."""

    stamp: int
    data: bytes


@functools.lru_cache(maxsize=256)
def _whole_seconds(text: bytes, zone: bytes) -> int:
    moment = datetime.fromisoformat(text.decode() + ("+00:00" if zone == b"Z" else zone.decode()))
    return int(moment.timestamp())


def parse_stamp(text: bytes) -> int | None:
    """Return the nanoseconds since 1970 of an RFC 3339 time, or None when it is none."""
    match = _STAMP.fullmatch(text)
    if match is None:
        return None
    try:
        seconds = _whole_seconds(match[1], match[3])
    except ValueError:
        return None
    return seconds * 1_000_000_000 + int((match[2] or b"").ljust(9, b"0"))


@functools.lru_cache(maxsize=256)
def _second_text(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S")


def format_stamp(stamp: int) -> bytes:
    """Return a time as the kubelet writes it, in UTC."""
    seconds, nanoseconds = divmod(stamp, 1_000_000_000)
    return b"%s.%09dZ" % (_second_text(seconds).encode(), nanoseconds)


class StampParser:
    """Takes the stamps off a stream that comes in any pieces."""

    def __init__(self) -> None:
        self._held = b""
        self._open = False

    def feed(self, data: bytes) -> list[Piece]:
        """Return what these bytes bring; an unfinished line is passed on as far as it came."""
        if self._held:
            data, self._held = self._held + data, b""
        pieces: list[Piece] = []
        if self._open:
            end = data.find(b"\n") + 1
            if end == 0:
                return [Piece(NO_STAMP, data)] if data else []
            pieces.append(Piece(NO_STAMP, data[:end]))
            data = data[end:]
        *lines, rest = data.split(b"\n")
        pieces += [_stamped(line, b"\n") for line in lines]
        self._open = False
        if rest:
            self._begin(rest, pieces)
        return pieces

    def flush(self) -> list[Piece]:
        """Return what was held back for its stamp, at the end of the stream."""
        held, self._held = self._held, b""
        return [_stamped(held, b"")] if held else []

    def _begin(self, rest: bytes, pieces: list[Piece]) -> None:
        space = rest.find(b" ", 0, _PREFIX_MAX)
        if (space < 0 and len(rest) < _PREFIX_MAX) or space == len(rest) - 1:
            self._held = rest
            return
        self._open = True
        pieces.append(_stamped(rest, b""))


def _stamped(line: bytes, end: bytes) -> Piece:
    space = line.find(b" ", 0, _PREFIX_MAX)
    stamp = parse_stamp(line[:space]) if space > 0 else None
    if stamp is None:
        return Piece(NO_STAMP, line + end)
    return Piece(stamp, line[space + 1 :] + end)


class Resume:
    """Drops from a stream, read again, exactly the lines that are stored.

    `known` are the stamps of the stored lines that the stream may begin with, in their order; the last of them is stored up
    to `open_bytes` bytes, or entirely (0). Where the stream begins later than that (the log was rotated) it is aligned with
    the rest of `known`; where nothing fits, `gap` tells that lines may be missing before what is passed on, and
    `begins_later` that not even its beginning was known. With `trimmed` it may also begin earlier than `known`, whose first
    lines the cap left out.

    A rotation, and a `sinceTime`, can cut a line in two. The rest then stands first, with a stamp of its own that nobody
    knows: it is held back until the line after it says whether it is stored already.
    """

    def __init__(self, known: Sequence[int], *, open_bytes: int, trimmed: bool = False) -> None:
        self._known = known
        self._trimmed = trimmed
        self._open_bytes = open_bytes
        self._from = 0
        self._matched = 0
        self._skip_bytes = 0
        self._state = "drop" if known else "pass"
        self._held: list[Piece] = []
        self._held_bytes = 0
        self.gap = False

    @property
    def begins_later(self) -> bool:
        """Whether the stream begins after everything that is known."""
        return self.gap and not self._matched

    def feed(self, pieces: Iterable[Piece]) -> list[Piece]:
        """Return what of these pieces is new."""
        if self._state == "pass":
            return list(pieces)
        return [new for piece in pieces for new in self._one(piece)]

    def flush(self) -> list[Piece]:
        """Return, at the end of the stream, what was held back: the only line there is, and a new one."""
        return self._give_up() if self._held else []

    def describe(self) -> dict[str, int]:
        """Return how far the stream was recognised, for our own log."""
        return {"known": len(self._known), "skipped": self._from, "matched": self._matched}

    def _one(self, piece: Piece) -> list[Piece]:
        if self._state == "pass":
            return [piece]
        if piece.stamp == NO_STAMP:
            return self._part(piece)
        if self._trimmed and not self._matched and piece.stamp < self._known[0]:
            return []
        if self._state == "last":
            self._state = "pass"
            return [piece]
        if not self._fits(piece.stamp):
            if not self._matched and not self._held:
                self._hold(piece)
                return []
            return [*self._give_up(), piece]
        self._held.clear()
        if self._state == "pass":  # all that was known is behind us, and this line is new
            return [piece]
        self._matched += 1
        if self._from + self._matched < len(self._known):
            return []
        self._state = "last"
        self._skip_bytes = self._open_bytes
        return self._rest_of_last(piece.data)

    def _part(self, piece: Piece) -> list[Piece]:
        if self._state == "last":
            return self._rest_of_last(piece.data)
        if self._held:
            self._hold(piece)
            if self._held_bytes > _TORN_MAX_BYTES:
                return self._give_up()
        return []

    def _hold(self, piece: Piece) -> None:
        self._held.append(piece)
        self._held_bytes += len(piece.data)

    def _give_up(self) -> list[Piece]:
        held, self._held = self._held, []
        self._state = "pass"
        self.gap = True
        return held

    def _rest_of_last(self, data: bytes) -> list[Piece]:
        if self._open_bytes == 0:
            return []
        skipped = min(self._skip_bytes, len(data))
        self._skip_bytes -= skipped
        return [Piece(NO_STAMP, data[skipped:])] if len(data) > skipped else []

    def _fits(self, stamp: int) -> bool:
        """Whether a line is the next known one, perhaps after moving on to where the stream can have begun."""
        known, matched = self._known, self._matched
        if known[self._from + matched] == stamp:
            return True
        seen = [*known[self._from : self._from + matched], stamp]
        last = min(len(known), self._from + _CANDIDATES_MAX if matched else len(known))
        for start in range(self._from + 1, last):
            if known[start] != seen[0]:
                continue
            length = min(len(seen), len(known) - start)
            if list(known[start : start + length]) == seen[:length]:
                self._from = start
                if length < len(seen):
                    self._state = "pass"
                return True
        return False


def fast_rotation(pieces: Sequence[Piece], *, last_stamp: int, since_stamp: int, bytes_per_second: float = 0.0) -> int:
    """Return the index of the first line before which a whole file of a rotated log can be missing, or -1.

    A kubelet that is behind when a log is rotated twice goes on with the newest file and leaves the one between out
    (cri-client/pkg/logs: on a create event ReadLogs opens the path again). Then more than `ROTATION_NANOSECONDS` lie between
    two lines, or, where a busy kubelet rotates late and then on time, as much as it takes to print a file at the rate of
    the lines before. Those before `since_stamp`, when the reading began, were in one file.
    """
    least = ROTATION_NANOSECONDS
    if bytes_per_second > 0:
        least = min(least, max(_BURST_NANOSECONDS, int(ROTATED_BYTES / bytes_per_second * 1_000_000_000)))
    previous = last_stamp
    for index, piece in enumerate(pieces):
        if piece.stamp == NO_STAMP:
            continue
        if piece.stamp - previous >= least and piece.stamp > since_stamp and previous > 0:
            return index
        previous = piece.stamp
    return -1


def hides_a_file(gap_nanoseconds: int, *, idle_nanoseconds: int, bytes_per_second: float) -> bool:
    """Tell whether a file can be missing where nothing came for `idle_nanoseconds`, and no line is as old as the gap.

    As a rule the program was silent. But a kubelet that gets no CPU is silent too, and skips a file when it goes on: that
    shows where the program printed so fast before that a file fits into the gap.
    """
    if idle_nanoseconds < gap_nanoseconds * 3 // 4:
        return True
    return gap_nanoseconds < _STALL_NANOSECONDS and bytes_per_second * gap_nanoseconds >= ROTATED_BYTES * 1_000_000_000


class Rate:
    """How fast a program prints, by the stamps of its lines: over the last stretch of 256 KiB."""

    def __init__(self) -> None:
        self.bytes_per_second = 0.0
        self._bytes = 0
        self._from = 0

    def feed(self, pieces: Sequence[Piece], *, last_stamp: int) -> None:
        """Take lines in; `last_stamp` is that of the last."""
        if not self._from:
            self._from = next((piece.stamp for piece in pieces if piece.stamp != NO_STAMP), 0)
        self._bytes += sum(len(piece.data) for piece in pieces)
        if self._bytes >= _STRETCH_BYTES and self._from:
            elapsed = max(last_stamp - self._from, 1_000_000)
            self.bytes_per_second = self._bytes / elapsed * 1_000_000_000
            self._bytes, self._from = 0, last_stamp

    def pause(self) -> None:
        """Begin a new stretch: what follows comes after a gap."""
        self._bytes, self._from = 0, 0


def step_back(pieces: Sequence[Piece], *, last_stamp: int) -> int:
    """Return the index of the first line that is clearly older than the one before it, or -1.

    The same kubelet reads the newest file once for each time that the path was created, so the file comes again. Or the
    node's clock was set back. Standard output and error may overtake each other by a little.
    """
    previous = last_stamp
    for index, piece in enumerate(pieces):
        if piece.stamp == NO_STAMP:
            continue
        if piece.stamp < previous - _OVERTAKEN_NANOSECONDS:
            return index
        previous = piece.stamp
    return -1


class Chunk(msgspec.Struct, frozen=True, kw_only=True):
    """A stretch of a container's log, or a mark where something is missing.

    `lines` counts the lines that begin in it, numbered from `first_line`; `first_byte` is its place in all that was read;
    `open_bytes` is how much of an unfinished last line there is by its end. `sealed`: it will not grow any more. A mark has
    its text in `mark`, and in `size_bytes` and `lines` what it stands for.
    """

    container: str
    seq: int
    first_line: int = 1
    lines: int = 0
    first_byte: int = 0
    size_bytes: int = 0
    open_bytes: int = 0
    continues: bool = False
    sealed: bool = False
    first_stamp: int = 0
    last_stamp: int = 0
    mark: str = ""
    data: bytes | None = None


class Body(NamedTuple):
    """What a chunk holds: its bytes as they were printed, and the stamp of each line that begins in it."""

    content: bytes
    stamps: array[int]


def encode(body: Body) -> bytes:
    """Return the stored form of a body."""
    previous = 0
    deltas = array("q")
    for stamp in body.stamps:
        deltas.append(stamp - previous)
        previous = stamp
    return zlib.compress(_COUNT.pack(len(deltas)) + deltas.tobytes() + body.content, 1)


def decode(data: bytes) -> Body:
    """Return the body of its stored form.

    Raises:
        ValueError: it is none.
    """
    try:
        plain = zlib.decompress(data)
        (count,) = _COUNT.unpack_from(plain)
        stamps = array("q", plain[_COUNT.size : _COUNT.size + 8 * count])
    except (zlib.error, struct.error, ValueError) as error:
        raise ValueError(f"a stored chunk of a log cannot be read: {error}") from None
    total = 0
    for index, delta in enumerate(stamps):
        total += delta
        stamps[index] = total
    return Body(plain[_COUNT.size + 8 * count :], stamps)


class Kept(NamedTuple):
    """A stored chunk, as far as a cap needs to know it."""

    seq: int
    size_bytes: int
    lines: int


class Assembler:
    """Makes the chunks of one container's log, and says which to drop so that it stays within its cap.

    The first half of the cap is kept from the beginning, the other half from the end; a mark between them counts what was
    left out. The number of that mark is set aside when the first half is full.
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
        self._last_stamp = 0
        self._parts: list[bytes] = []
        self._size = 0
        self._stamps = array("q")
        self._continues = False
        self._ready: list[Chunk] = []
        self._dropped: list[int] = []
        self._stored_size = 0

    def restore(self, stored: Sequence[Chunk], last: Body | None) -> None:
        """Go on from what is stored: the chunks without their data, in order, and the body of the last, unsealed one."""
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
            self._last_stamp = chunk.last_stamp
            if last is not None and chunk is stored[-1] and not chunk.sealed:
                self._seq = chunk.seq
                self._parts, self._size, self._stamps = [last.content], chunk.size_bytes, last.stamps
                self._continues, self._stored_size = chunk.continues, chunk.size_bytes
            else:
                self._keep(Kept(chunk.seq, chunk.size_bytes, chunk.lines), chunk.first_byte, half)

    def feed(self, pieces: Iterable[Piece]) -> None:
        """Take lines in."""
        for stamp, data in pieces:
            if not data:
                continue
            if self.open_bytes == 0:
                if self._size >= self._chunk_bytes:
                    self._seal()
                self._last_stamp = stamp if stamp != NO_STAMP else self._last_stamp
                self.lines += 1
                self._stamps.append(self._last_stamp)
            self._append(data)

    def reserve_head(self) -> None:
        """Set the number of a mark before the first line aside, which `head_gap` may use; before anything is taken in."""
        self._seq = 2

    def head_gap(self, text: str) -> None:
        """Put a mark before the first line."""
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
    def last_stamp(self) -> int:
        """The stamp of the last line."""
        return self._last_stamp

    @property
    def trimmed(self) -> bool:
        """Whether the cap has left something out."""
        return self._left_out[0] > 0

    @property
    def waiting_bytes(self) -> int:
        """Bytes taken in and not handed out by `take`."""
        return sum(chunk.size_bytes for chunk in self._ready if not chunk.mark) + self._size - self._stored_size

    def take(self, *, final: bool = False) -> tuple[list[Chunk], list[int]]:
        """Return the chunks to store (new, or grown) and the numbers of those to drop; with `final` the last is sealed."""
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
            first_stamp=min(self._stamps, default=self._last_stamp),
            last_stamp=max(self._stamps, default=self._last_stamp),
            data=encode(Body(content, self._stamps)),
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
            mark=truncated_text(left_bytes=count, left_lines=lines, max_bytes=self._max_bytes),
        )


def truncated_text(*, left_bytes: int, left_lines: int, max_bytes: int) -> str:
    """Return the words of a truncation mark."""
    return f"{left_bytes} bytes ({left_lines} lines) left out here: the log is above its limit of {max_bytes} bytes"


def mark_line(text: str, *, mid_line: bool) -> bytes:
    """Return a mark as the line of its own that readers see."""
    return (b"\n" if mid_line else b"") + f"[kube-job-runner: {text}]\n".encode()
