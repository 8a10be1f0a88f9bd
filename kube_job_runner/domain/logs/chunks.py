"""Chunks: the stored stretches of a container's log, their stored form, and the marks between them."""

from __future__ import annotations

import functools
import struct
import zlib
from array import array
from typing import NamedTuple

import msgspec

_COUNT = struct.Struct("<I")


class Chunk(msgspec.Struct, frozen=True, kw_only=True):
    """A stretch of a container's log, or a mark where something is missing.

    `lines` counts the lines that begin in the chunk, numbered from `first_line`. `first_byte` is its offset in the whole
    log. `open_bytes` is the size of an unfinished last line at its end. With `continues` it begins within a line. A `sealed`
    chunk does not grow any more. A mark has its text in `mark`; its `size_bytes` and `lines` count what was left out.
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
    """The content of a chunk as it was printed, and the stamp of each line that begins in it."""

    content: bytes
    stamps: array[int]


def encode_body(body: Body) -> bytes:
    """Return the stored form of a body."""
    previous = 0
    deltas = array("q")
    for stamp in body.stamps:
        deltas.append(stamp - previous)
        previous = stamp
    return zlib.compress(_COUNT.pack(len(deltas)) + deltas.tobytes() + body.content, 1)


@functools.lru_cache(maxsize=32)
def shared_body(data: bytes) -> Body:
    """Return the body of a stored form, only to be read. The last few are kept: all followers of a log read the same ones."""
    return decode_body(data)


def decode_body(data: bytes) -> Body:
    """Return the body of a stored form.

    Raises:
        ValueError: the data is damaged.
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


def mark_line(text: str, *, mid_line: bool) -> bytes:
    """Return a mark as readers see it: a line of its own."""
    return (b"\n" if mid_line else b"") + f"[kube-job-runner: {text}]\n".encode()
