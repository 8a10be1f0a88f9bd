"""Views: the lines that a reader asked for, from every place on."""

from __future__ import annotations

from array import array

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kube_job_runner.domain.logs.assembler import Assembler
from kube_job_runner.domain.logs.chunks import Body, Chunk, decode_body, encode_body, mark_line
from kube_job_runner.domain.logs.stamps import Piece, format_stamp
from kube_job_runner.domain.logs.view import Place, Renderer, View, parse_place
from tests.unit.domain.logs.printed import START, Store, printed


def rendered(chunks: list[Chunk], view: View, *, start: Place | None = None) -> bytes:
    renderer = Renderer(view, start=start or Place(), resumed=start is not None)
    text = b""
    for chunk in chunks:
        if chunk.seq < renderer.read.seq:
            continue
        text += renderer.mark(chunk) if chunk.mark else renderer.body(chunk, decode_body(chunk.data or b""))
    return text + renderer.finish()


@given(
    lines=printed(),
    chunk_bytes=st.sampled_from([1, 7, 64]),
    grep=st.sampled_from([b"", b"\r", b"\x00", b"a"]),
    timestamps=st.booleans(),
    first_line=st.integers(1, 5),
)
def test_a_view_shows_its_lines_and_goes_on_from_every_place(
    lines: list[tuple[int, bytes]], chunk_bytes: int, grep: bytes, timestamps: bool, first_line: int
) -> None:
    assembler, store = Assembler("main", max_bytes=2**30, chunk_bytes=chunk_bytes), Store()
    assembler.feed([Piece(stamp, data) for stamp, data in lines])
    store.put(assembler, final=True)
    view = View(grep=grep, timestamps=timestamps, first_line=first_line)
    expected = b"".join(
        (format_stamp(stamp) + b" " if timestamps else b"") + data
        for stamp, data in lines[first_line - 1 :]
        if grep in data
    )
    assert rendered(store.ordered, view) == expected
    renderer, text = Renderer(view, start=Place(), resumed=False), b""
    for chunk in store.ordered:
        text += renderer.body(chunk, decode_body(chunk.data or b""))
        assert text + rendered(store.ordered, view, start=renderer.place) == expected


def test_a_reader_that_is_overtaken_by_the_cap_is_told() -> None:
    data = encode_body(Body(b"later\n", array("q", [START])))
    chunk = Chunk(container="main", seq=9, first_line=90, lines=1, first_byte=900, size_bytes=6, sealed=True, data=data)
    text = rendered([chunk], View(), start=Place(3, 100))
    assert text == mark_line("800 bytes left out here: the log is above its limit", mid_line=False) + b"later\n"


@pytest.mark.parametrize("text", ["", "3", "3.", "a.b", "3.4.5", "-1.0", "3.4\n"])
def test_what_is_no_place_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="must be a place"):
        parse_place(text)
