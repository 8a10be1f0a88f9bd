"""Resuming: after a break anywhere, nothing is lost or repeated."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kube_job_runner.domain.logs.assembler import Assembler
from kube_job_runner.domain.logs.resume import Resume
from kube_job_runner.domain.logs.stamps import Piece, StampParser
from tests.unit.domain.logs.printed import START, Store, cut, printed, stream


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


def test_what_the_cap_left_out_is_not_taken_for_new() -> None:
    resume = Resume([START + 5], open_bytes=0, trimmed=True)
    again = stream([(START, b"left out\n"), (START + 5, b"known\n"), (START + 6, b"new\n")])
    assert resume.feed(StampParser().feed(again)) == [Piece(START + 6, b"new\n")]
    assert not resume.gap
