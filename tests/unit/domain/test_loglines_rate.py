"""Where a file of a log that is rotated quickly can be missing: by the time between two lines, and the speed of those before."""

from __future__ import annotations

import pytest

from kube_job_runner.domain.logs.loglines import Piece, Rate, fast_rotation, hides_a_file

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
