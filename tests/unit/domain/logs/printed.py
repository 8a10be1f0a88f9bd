"""Printed lines, cut streams and stored chunks for the tests of logs."""

from __future__ import annotations

from hypothesis import strategies as st

from kube_job_runner.domain.logs.assembler import Assembler
from kube_job_runner.domain.logs.chunks import Body, Chunk, decode_body
from kube_job_runner.domain.logs.stamps import format_stamp

START = 1_768_469_000_000_000_000
content = st.binary(max_size=40).map(lambda data: data.replace(b"\n", b"\r"))
steps = st.sampled_from([0, 0, 1, 1000, 10**9, -5, -(10**9)])


@st.composite
def printed(draw: st.DrawFn) -> list[tuple[int, bytes]]:
    """Lines with their stamps, which may be equal or step back; the last line may have no end."""
    stamp, lines = START, []
    for _ in range(draw(st.integers(0, 12))):
        stamp += draw(steps)
        lines.append((stamp, draw(content) + b"\n"))
    if lines and len(lines[-1][1]) > 1 and draw(st.booleans()):
        lines[-1] = (lines[-1][0], lines[-1][1][:-1])
    return lines


def stream(lines: list[tuple[int, bytes]]) -> bytes:
    return b"".join(format_stamp(stamp) + b" " + data for stamp, data in lines)


class Store:
    """What became of the chunks."""

    def __init__(self) -> None:
        self.chunks: dict[int, Chunk] = {}

    def put(self, assembler: Assembler, *, final: bool = False) -> None:
        chunks, dropped = assembler.take(final=final)
        for chunk in chunks:
            self.chunks[chunk.seq] = chunk
        for seq in dropped:
            self.chunks.pop(seq, None)

    @property
    def ordered(self) -> list[Chunk]:
        return [chunk for _, chunk in sorted(self.chunks.items())]

    def bodies(self) -> list[Body]:
        return [decode_body(chunk.data) for chunk in self.ordered if chunk.data is not None]

    def stamps(self) -> list[int]:
        return [stamp for body in self.bodies() for stamp in body.stamps]

    def content(self) -> bytes:
        return b"".join(body.content for body in self.bodies())

    def restored(self, *, chunk_bytes: int) -> Assembler:
        again = Assembler("main", max_bytes=2**30, chunk_bytes=chunk_bytes)
        last = self.ordered[-1] if self.chunks else None
        body = decode_body(last.data) if last is not None and last.data is not None and not last.sealed else None
        again.restore(self.ordered, body)
        return again


def cut(data: bytes, sizes: list[int]) -> list[bytes]:
    """Cut data at any places."""
    parts, place = [], 0
    for size in sizes:
        parts.append(data[place : place + size])
        place += size
    return [*parts, data[place:]]
