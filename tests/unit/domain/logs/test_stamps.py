"""Time stamps of log lines."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kube_job_runner.domain.logs.stamps import format_stamp, parse_stamp
from tests.unit.domain.logs.printed import START


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
