"""The time stamps of log lines: how the kubelet writes them, and how a stream is split into stamped pieces.

The kubelet writes the time of a line before it (RFC 3339 with nanoseconds, `types.RFC3339NanoFixed`) and one space. The
container runtime splits a long line into parts of 16 KiB. The kubelet joins them and sends only the stamp of the first
part (cri-client/pkg/logs, ReadLogs). It compares `sinceTime` with the stamp of each part, so a stream may begin in the
middle of a line that is older.
"""

import functools
import re
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

NO_STAMP = -1
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_PREFIX_MAX = 40
_STAMP = re.compile(rb"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.(\d{1,9})\d*)?(Z|[+-]\d\d:\d\d)")


class Piece(NamedTuple):
    """A line or a part of one. `stamp` is the line's time in nanoseconds since 1970, or `NO_STAMP` for a later part."""

    stamp: int
    data: bytes


@functools.lru_cache(maxsize=256)
def _whole_seconds(text: bytes, zone: bytes) -> int:
    moment = datetime.fromisoformat(text.decode() + ("+00:00" if zone == b"Z" else zone.decode()))
    return int(moment.timestamp())


def parse_stamp(text: bytes) -> int | None:
    """Return an RFC 3339 time in nanoseconds since 1970, or None for any other text."""
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
    """Return a time in nanoseconds since 1970 as the kubelet writes it, in UTC."""
    seconds, nanoseconds = divmod(stamp, 1_000_000_000)
    return b"%s.%09dZ" % (_second_text(seconds).encode(), nanoseconds)


def stamp_of(moment: datetime) -> int:
    """Return a time in nanoseconds since 1970."""
    return (moment - _EPOCH) // timedelta(microseconds=1) * 1000


class StampParser:
    """Splits a stream, which may arrive in parts of any size, into pieces and their stamps."""

    def __init__(self) -> None:
        self._held = b""
        self._open = False

    def feed(self, data: bytes) -> list[Piece]:
        """Return the pieces of these bytes. An unfinished line is returned at once, as far as it has arrived."""
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
        """Return, at the end of the stream, the beginning of a line whose stamp was not complete."""
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
