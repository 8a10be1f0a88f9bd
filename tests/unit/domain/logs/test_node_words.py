"""Lines without a stamp: the node's at the end of a stream, else part of the log."""

from __future__ import annotations

import pytest

from kube_job_runner.domain.logs.node_words import HELD_MAX_BYTES, NodeWords
from kube_job_runner.domain.logs.stamps import StampParser, format_stamp
from tests.unit.domain.logs.printed import START

ERROR = b'failed to try resolving symlinks in path "/var/log/pods/x/main/0.log": lstat: no such file or directory'
LINE = format_stamp(START) + b" hello\n"


def read(*chunks: bytes) -> tuple[bytes, str]:
    """Return the log of a stream that comes in these chunks, and what the node said at its end."""
    parser, node = StampParser(), NodeWords()
    pieces = [piece for chunk in chunks for piece in node.feed(parser.feed(chunk))]
    pieces += node.feed(parser.flush())
    return b"".join(piece.data for piece in pieces), node.text


@pytest.mark.parametrize("end", [b"", b"\n"])
@pytest.mark.parametrize("before", [b"", LINE, LINE * 3])
def test_words_at_the_end_are_the_nodes(before: bytes, end: bytes) -> None:
    log = b"hello\n" * before.count(b"\n")
    stream = before + ERROR + end
    assert read(stream) == (log, ERROR.decode())
    assert read(*(stream[n : n + 1] for n in range(len(stream)))) == (log, ERROR.decode())


def test_several_lines_after_the_log_are_the_nodes() -> None:
    assert read(LINE, b"rpc error\nand more\n") == (b"hello\n", "rpc error\nand more")


def test_a_line_without_a_stamp_before_others_is_part_of_the_log() -> None:
    assert read(b"the rest of an older line\n", LINE) == (b"the rest of an older line\nhello\n", "")


def test_a_log_without_any_stamps_is_passed_on() -> None:
    assert read(b"one\ntwo\nthree\n") == (b"one\ntwo\nthree\n", "")
    assert read(b"x" * HELD_MAX_BYTES, b"y\n") == (b"x" * HELD_MAX_BYTES + b"y\n", "")


def test_a_long_line_in_many_parts_is_not_held() -> None:
    parts = [format_stamp(START) + b" " + b"a" * 50, b"b" * 50, b"c\n"]
    assert read(*parts) == (b"a" * 50 + b"b" * 50 + b"c\n", "")


def test_a_stamp_that_broke_off_is_not_the_nodes() -> None:
    assert read(LINE, LINE[:17]) == (b"hello\n" + LINE[:17], "")


def test_an_empty_stream_says_nothing() -> None:
    assert read(b"") == (b"", "")
