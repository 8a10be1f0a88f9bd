"""Assembling: however a stream is cut, the chunks hold the printed bytes, within the cap."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from kube_job_runner.domain.logs.assembler import Assembler
from kube_job_runner.domain.logs.chunks import decode_body
from kube_job_runner.domain.logs.stamps import Piece, StampParser
from tests.unit.domain.logs.printed import START, Store, cut, printed, stream


@given(lines=printed(), sizes=st.lists(st.integers(0, 50)), chunk_bytes=st.sampled_from([1, 7, 64, 4096]))
def test_any_cut_of_the_stream_gives_the_same_bytes_stamps_and_numbers(
    lines: list[tuple[int, bytes]], sizes: list[int], chunk_bytes: int
) -> None:
    parser, assembler, store = StampParser(), Assembler("main", max_bytes=2**30, chunk_bytes=chunk_bytes), Store()
    for part in cut(stream(lines), sizes):
        assembler.feed(parser.feed(part))
        store.put(assembler)
    assembler.feed(parser.flush())
    store.put(assembler, final=True)
    assert store.content() == b"".join(data for _, data in lines)
    assert store.stamps() == [stamp for stamp, _ in lines]
    number = 1
    for chunk in store.ordered:
        assert chunk.sealed
        assert chunk.first_line == number
        number += chunk.lines


def test_a_mark_before_the_first_line() -> None:
    assembler, store = Assembler("main", max_bytes=2**20, chunk_bytes=8), Store()
    assembler.reserve_head()
    assembler.feed([Piece(START, b"a line\n"), Piece(START, b"another\n")])
    store.put(assembler)
    assembler.head_gap("lines may be missing before this")
    store.put(assembler)
    assembler = store.restored(chunk_bytes=8)
    assembler.feed([Piece(START, b"the last\n")])
    store.put(assembler, final=True)
    assert [(chunk.seq, chunk.mark) for chunk in store.ordered if chunk.mark] == [
        (1, "lines may be missing before this")
    ]
    assert store.content() == b"a line\nanother\nthe last\n"


def test_text_without_a_stamp_continues_or_begins_a_line() -> None:
    parser = StampParser()
    assert parser.feed(b"failed to watch file: no space left on device, and more words\n") == [
        Piece(-1, b"failed to watch file: no space left on device, and more words\n")
    ]
    assembler, store = Assembler("main", max_bytes=2**20), Store()
    assembler.feed([Piece(START, b"a\n"), Piece(-1, b"no stamp\n"), Piece(START + 1, b"b\n")])
    store.put(assembler, final=True)
    assert store.content() == b"a\nno stamp\nb\n"
    assert store.stamps() == [START, START, START + 1]


@given(sizes=st.lists(st.integers(1, 3000), max_size=60), cap=st.sampled_from([4096, 10_000]), every=st.integers(1, 9))
def test_a_cap_keeps_the_first_and_the_last_part_and_counts_the_rest(sizes: list[int], cap: int, every: int) -> None:
    store, assembler = Store(), Assembler("main", max_bytes=cap, chunk_bytes=512)
    lines = [bytes([97 + n % 26]) * (size - 1) + b"\n" for n, size in enumerate(sizes)]
    for number, line in enumerate(lines):
        assembler.feed([Piece(START + number, line)])
        if number % every == 0:
            store.put(assembler)
            if number % 3 == 0 and number:
                restored = Assembler("main", max_bytes=cap, chunk_bytes=512)
                last = store.ordered[-1]
                restored.restore(store.ordered, decode_body(last.data) if last.data and not last.sealed else None)
                assembler = restored
    store.put(assembler, final=True)
    whole = b"".join(lines)
    marks = [chunk for chunk in store.ordered if chunk.mark]
    kept = store.content()
    assert len(kept) <= cap + 512
    if len(whole) <= cap // 2:
        assert kept == whole
    assert len(kept) + sum(mark.size_bytes for mark in marks) == len(whole)
    assert len(marks) <= 1
    before = b"".join(
        decode_body(c.data).content for c in store.ordered if c.data and (not marks or c.seq < marks[0].seq)
    )
    assert whole.startswith(before)
    assert whole.endswith(kept[len(before) :])
