"""The log cursor notices a shorter log, and lines do not depend on how bytes are cut."""

from __future__ import annotations

import pytest

from kube_job_runner.client.log_cursor import LineSplitter, LogCursor
from kube_job_runner.client.models import LogChunk


def test_a_log_that_became_shorter_is_noticed() -> None:
    cursor = LogCursor(attempt=1, tail=None)
    cursor.open()
    cursor.feed(b"0123456789")
    cursor.open()
    assert cursor.feed(b"01234") is None
    cursor.close()
    assert cursor.gap


@pytest.mark.parametrize("size", [1, 2, 3, 7, 1000])
def test_lines_do_not_depend_on_how_the_bytes_are_cut(size: int) -> None:
    data = "äöü\r\nprogress\rmore\n\n€uro".encode() + b"\xff\n" + b"x" * 500 + "\n last äö".encode()
    lines = LineSplitter()
    got: list[str] = []
    for start in range(0, len(data), size):
        got += lines.feed(LogChunk(1, data[start : start + size]))
    got += lines.flush()
    assert got == data.decode("utf-8", "replace").split("\n")


def test_half_a_character_at_the_end_is_not_lost_silently() -> None:
    lines = LineSplitter()
    assert list(lines.feed(LogChunk(1, b"ab\xe2\x82"))) == []
    assert list(lines.flush()) == ["ab\ufffd"]
