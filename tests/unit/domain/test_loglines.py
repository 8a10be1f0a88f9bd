"""Log lines: whatever the cut of the stream and wherever it breaks, the bytes that come out are those that went in."""

from __future__ import annotations

from array import array
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kube_job_runner.domain.logs import logview
from kube_job_runner.domain.logs.loglines import (
    Assembler,
    Body,
    Chunk,
    Piece,
    Resume,
    StampParser,
    decode,
    encode,
    fast_rotation,
    format_stamp,
    mark_line,
    parse_stamp,
    step_back,
)

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
        return [decode(chunk.data) for chunk in self.ordered if chunk.data is not None]

    def stamps(self) -> list[int]:
        return [stamp for body in self.bodies() for stamp in body.stamps]

    def content(self) -> bytes:
        return b"".join(body.content for body in self.bodies())

    def restored(self, *, chunk_bytes: int) -> Assembler:
        again = Assembler("main", max_bytes=2**30, chunk_bytes=chunk_bytes)
        last = self.ordered[-1] if self.chunks else None
        body = decode(last.data) if last is not None and last.data is not None and not last.sealed else None
        again.restore(self.ordered, body)
        return again


def cut(data: bytes, sizes: list[int]) -> list[bytes]:
    """Cut data at any places."""
    parts, place = [], 0
    for size in sizes:
        parts.append(data[place : place + size])
        place += size
    return [*parts, data[place:]]


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


@given(
    lines=printed(),
    more=printed(),
    at=st.integers(0, 600),
    sizes=st.lists(st.integers(0, 50)),
    chunk_bytes=st.sampled_from([1, 7, 64, 4096]),
    restart=st.booleans(),
)
def test_after_a_break_anywhere_nothing_is_lost_or_repeated(
    lines: list[tuple[int, bytes]],
    more: list[tuple[int, bytes]],
    at: int,
    sizes: list[int],
    chunk_bytes: int,
    restart: bool,
) -> None:
    whole = stream(lines)
    parser, assembler, store = StampParser(), Assembler("main", max_bytes=2**30, chunk_bytes=chunk_bytes), Store()
    for part in cut(whole[:at], sizes):
        assembler.feed(parser.feed(part))
    store.put(assembler)
    if restart:
        assembler = store.restored(chunk_bytes=chunk_bytes)
    if lines and lines[-1][1].endswith(b"\n"):
        whole, lines = whole + stream(more), lines + more
    parser, resume = StampParser(), Resume(store.stamps(), open_bytes=assembler.open_bytes)
    for part in cut(whole, sizes):
        assembler.feed(resume.feed(parser.feed(part)))
    assembler.feed(resume.feed(parser.flush()))
    assembler.feed(resume.flush())
    store.put(assembler, final=True)
    assert store.content() == b"".join(data for _, data in lines)
    assert not resume.gap


@given(lines=printed(), rotated=st.integers(0, 12), known=st.integers(1, 12))
def test_a_rotated_log_is_aligned_or_marked(lines: list[tuple[int, bytes]], rotated: int, known: int) -> None:
    lines = [(START + n, data if data.endswith(b"\n") else data + b"\n") for n, (_, data) in enumerate(lines)]
    known, rotated = min(known, len(lines)), min(rotated, len(lines))
    if not known:
        return
    resume = Resume([stamp for stamp, _ in lines[:known]], open_bytes=0)
    new = resume.feed(StampParser().feed(stream(lines[rotated:]))) + resume.flush()
    assert new == [Piece(stamp, data) for stamp, data in lines[max(known, rotated) :]]
    assert resume.gap == (rotated >= known and rotated < len(lines))


def test_the_rest_of_a_line_that_began_before_is_left_out() -> None:
    """A `sinceTime` between the parts of a long line: its rest comes without a stamp."""
    resume = Resume([START], open_bytes=0)
    pieces = StampParser().feed(b"xxxx rest of an older line\n" + stream([(START, b"known\n"), (START + 1, b"new\n")]))
    assert resume.feed(pieces) == [Piece(START + 1, b"new\n")]


@pytest.mark.parametrize("parts", [[b"rest\n"], [b"re", b"st\n"]])
def test_the_rest_of_a_line_that_a_rotation_cut_is_left_out(parts: list[bytes]) -> None:
    """The newer file begins with it, under a stamp of its own; a follow had glued it to its beginning."""
    torn = [Piece(START + 1, parts[0]), *(Piece(-1, part) for part in parts[1:])]
    resume = Resume([START, START + 2], open_bytes=0)
    assert resume.feed([*torn, Piece(START + 2, b"known\n"), Piece(START + 3, b"new\n")]) == [
        Piece(START + 3, b"new\n")
    ]
    assert not resume.gap
    resume = Resume([START], open_bytes=4)
    assert resume.feed([*torn, Piece(START + 3, b"new\n")]) == [*torn, Piece(START + 3, b"new\n")]
    assert resume.begins_later


def test_a_first_line_too_long_to_be_held_back_is_passed_on() -> None:
    resume = Resume([START], open_bytes=0)
    part = Piece(-1, b"x" * 600_000)
    assert resume.feed([Piece(START + 1, b"x"), part]) == []
    assert resume.feed([part]) == [Piece(START + 1, b"x"), part, part]
    assert resume.gap
    assert resume.flush() == []


def test_a_file_that_was_left_out_and_one_that_comes_again() -> None:
    second = 10**9
    pieces = [Piece(START, b"a\n"), Piece(-1, b"b"), Piece(START + 3 * second, b"c\n"), Piece(START + second, b"d\n")]
    assert fast_rotation(pieces, last_stamp=START - second, since_stamp=START) == 2
    assert fast_rotation(pieces, last_stamp=START - second, since_stamp=START + 3 * second) == -1, "of one file"
    assert fast_rotation(pieces[:1], last_stamp=START - 3 * second, since_stamp=0) == 0
    assert fast_rotation(pieces[:1], last_stamp=0, since_stamp=0) == -1, "the first of all"
    assert step_back(pieces, last_stamp=START) == 3
    assert step_back(pieces[:3], last_stamp=START) == -1
    assert step_back([Piece(START - 1000, b"e\n")], last_stamp=START) == -1, "two pipes, each with its own clock call"


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


def test_what_the_cap_left_out_is_not_taken_for_new() -> None:
    resume = Resume([START + 5], open_bytes=0, trimmed=True)
    again = stream([(START, b"left out\n"), (START + 5, b"known\n"), (START + 6, b"new\n")])
    assert resume.feed(StampParser().feed(again)) == [Piece(START + 6, b"new\n")]
    assert not resume.gap


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


@pytest.mark.parametrize(
    ("text", "stamp"),
    [
        (b"2026-01-15T09:23:20.000000000Z", START),
        (b"2026-01-15T09:23:20Z", START),
        (b"2026-01-15T09:23:20.5Z", START + 500_000_000),
        (b"2026-01-15T10:23:20.000000001+01:00", START + 1),
        (b"2026-01-15 09:23:20Z", None),
        (b"2026-13-15T09:23:20Z", None),
        (b"hello", None),
    ],
)
def test_stamps(text: bytes, stamp: int | None) -> None:
    assert parse_stamp(text) == stamp


@given(st.integers(0, 4 * 10**18))
def test_a_stamp_is_read_as_it_is_written(stamp: int) -> None:
    assert parse_stamp(format_stamp(stamp)) == stamp
    assert datetime.fromisoformat(format_stamp(stamp).decode()).tzinfo == UTC


@given(st.binary(), st.lists(st.integers(0, 2**62)))
def test_a_body_is_decoded_as_it_was_encoded(data: bytes, stamps: list[int]) -> None:
    assert decode(encode(Body(data, array("q", stamps)))) == Body(data, array("q", stamps))


def test_what_is_no_body_is_a_value_error() -> None:
    with pytest.raises(ValueError, match="cannot be read"):
        decode(b"nonsense")


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
                restored.restore(store.ordered, decode(last.data) if last.data and not last.sealed else None)
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
    before = b"".join(decode(c.data).content for c in store.ordered if c.data and (not marks or c.seq < marks[0].seq))
    assert whole.startswith(before)
    assert whole.endswith(kept[len(before) :])


def rendered(chunks: list[Chunk], view: logview.View, *, start: logview.Place | None = None) -> bytes:
    renderer = logview.Renderer(view, start=start or logview.Place(), resumed=start is not None)
    text = b""
    for chunk in chunks:
        if chunk.seq < renderer.read.seq:
            continue
        text += renderer.mark(chunk) if chunk.mark else renderer.body(chunk, decode(chunk.data or b""))
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
    view = logview.View(grep=grep, timestamps=timestamps, first_line=first_line)
    expected = b"".join(
        (format_stamp(stamp) + b" " if timestamps else b"") + data
        for stamp, data in lines[first_line - 1 :]
        if grep in data
    )
    assert rendered(store.ordered, view) == expected
    renderer, text = logview.Renderer(view, start=logview.Place(), resumed=False), b""
    for chunk in store.ordered:
        text += renderer.body(chunk, decode(chunk.data or b""))
        assert text + rendered(store.ordered, view, start=renderer.place) == expected


def test_a_reader_that_is_overtaken_by_the_cap_is_told() -> None:
    data = encode(Body(b"later\n", array("q", [START])))
    chunk = Chunk(container="main", seq=9, first_line=90, lines=1, first_byte=900, size_bytes=6, sealed=True, data=data)
    text = rendered([chunk], logview.View(), start=logview.Place(3, 100))
    assert text == mark_line("800 bytes left out here: the log is above its limit", mid_line=False) + b"later\n"


@pytest.mark.parametrize("text", ["", "3", "3.", "a.b", "3.4.5", "-1.0", "3.4\n"])
def test_what_is_no_place_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="must be a place"):
        logview.parse_place(text)
