"""Rotation: where a file of a log may be missing, and where a file comes again."""

from __future__ import annotations

import pytest

from kube_job_runner.domain.logs.rotation import Rate, fast_rotation, hides_a_file, step_back
from kube_job_runner.domain.logs.stamps import Piece
from tests.unit.domain.logs.printed import START

SECOND = 1_000_000_000
BEGAN = 1_700_000_000 * SECOND
MIB = 1024 * 1024


def lines(*seconds: float) -> list[Piece]:
    return [Piece(BEGAN + int(at * SECOND), b"a line\n") for at in seconds]


@pytest.mark.parametrize(
    ("gap_seconds", "bytes_per_second", "found"),
    [
        (2.6, 0.0, True),
        (2.4, 0.0, False),
        (2.4, 1.0 * MIB, False),
        (1.75, 8.0 * MIB, True),
        (0.9, 8.0 * MIB, False),
        (0.6, 100.0 * MIB, True),
        (0.4, 1000.0 * MIB, False),
    ],
)
def test_a_gap_hides_a_file_when_one_could_be_printed_in_it(
    gap_seconds: float, bytes_per_second: float, found: bool
) -> None:
    pieces = lines(1.0, 1.1, 1.1 + gap_seconds)
    index = fast_rotation(pieces, last_stamp=0, since_stamp=BEGAN, bytes_per_second=bytes_per_second)
    assert index == (2 if found else -1)


def test_a_silent_program_hides_nothing_but_a_silent_kubelet_may() -> None:
    gap = 2 * SECOND
    assert hides_a_file(gap, idle_nanoseconds=SECOND, bytes_per_second=0.0), "the bytes came without such a pause"
    assert not hides_a_file(gap, idle_nanoseconds=gap, bytes_per_second=1.0 * MIB)
    assert hides_a_file(gap, idle_nanoseconds=gap, bytes_per_second=8.0 * MIB)
    assert not hides_a_file(60 * SECOND, idle_nanoseconds=60 * SECOND, bytes_per_second=8.0 * MIB)


def test_the_rate_is_that_of_the_last_stretch_and_no_gap_is_in_it() -> None:
    rate = Rate()
    stretch = [Piece(BEGAN + n * SECOND // 64, b"x" * 8192) for n in range(64)]
    rate.feed(stretch, last_stamp=stretch[-1].stamp)
    assert rate.bytes_per_second == pytest.approx(512 * 1024, rel=0.05)
    rate.pause()
    later = [Piece(BEGAN + 60 * SECOND + n * SECOND // 640, b"x" * 8192) for n in range(64)]
    rate.feed(later[:10], last_stamp=later[9].stamp)
    assert rate.bytes_per_second == pytest.approx(512 * 1024, rel=0.05), "too little was read to know better"
    rate.feed(later[10:], last_stamp=later[-1].stamp)
    assert rate.bytes_per_second == pytest.approx(5120 * 1024, rel=0.05)


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
