"""The weight of a JSON body: how many values it holds, told from its bytes, before any object is made of it.

A body of 16 MiB can hold five million empty objects, which take half a gigabyte and seconds. Its bytes say so at once.
"""

import re
from collections.abc import Iterator

from kube_job_runner.web.validation.fault import TooComplex

VALUES_MAX = 250_000
NUMBER_MAX_BYTES = 10_000
_SLICE_BYTES = 64 * 1024  # looked at in one go; between two slices other threads may run
_LONG_NUMBER = re.compile(rb"[0-9]{%d}" % NUMBER_MAX_BYTES)


def at_most(body: bytes) -> int:
    """Return quickly how many values a body can hold at most; commas and brackets in its texts are counted too."""
    return body.count(b",") + body.count(b"{") + body.count(b"[") + 1


def check(body: bytes) -> int:
    """Return how many values a body holds; it need not be JSON.

    Raises:
        TooComplex: they are more than 250,000, or a number has more than 10,000 digits.
    """
    values = 1
    for piece in _outside_texts(body):
        values += piece.count(b",") + piece.count(b"{") + piece.count(b"[")
        if values > VALUES_MAX:
            raise TooComplex(f"the body holds more than {VALUES_MAX:,} values")
        if _LONG_NUMBER.search(piece):
            raise TooComplex(f"the body holds a number of more than {NUMBER_MAX_BYTES:,} digits")
    return values


def _outside_texts(body: bytes) -> Iterator[bytes]:
    """Return what is between the texts of a body, slice by slice."""
    start, in_text = 0, False
    while start < len(body):
        end = min(start + _SLICE_BYTES, len(body))
        while end < len(body) and body[end - 1] == 0x5C:  # never between a backslash and what it escapes
            end += 1
        piece = body[start:end]
        if b"\\" in piece:
            piece = piece.replace(b"\\\\", b"").replace(b'\\"', b"")
        parts = piece.split(b'"')
        yield b" ".join(parts[1 if in_text else 0 :: 2])
        in_text ^= len(parts) % 2 == 0
        start = end
