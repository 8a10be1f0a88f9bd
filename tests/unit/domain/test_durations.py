"""Durations are parsed and formatted."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kube_job_runner.domain import durations


@pytest.mark.parametrize(
    ("written", "seconds"),
    [
        ("90", 90),
        ("90s", 90),
        ("10m", 600),
        ("2h", 7200),
        ("1h30m", 5400),
        ("1d", 86_400),
        ("1.5h", 5400),
        ("500ms", 0.5),
        ("1m500ms", 60.5),
        (" 5M ", 300),
    ],
)
def test_durations_as_people_write_them(written: str, seconds: float) -> None:
    assert durations.parse(written) == seconds


@pytest.mark.parametrize("written", ["", "m", "10x", "-5s", "1h 30m", "5s10", "1e3", "٣s", "9" * 20, "inf", "nan"])
def test_what_is_no_duration(written: str) -> None:
    with pytest.raises(ValueError, match="not a duration"):
        durations.parse(written)


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [
        (-1, "0.0s"),
        (0.44, "0.4s"),
        (9.96, "10s"),
        (59.4, "59s"),
        (59.6, "1m00s"),
        (125, "2m05s"),
        (3600, "1h00m"),
        (187_200, "2d4h"),
    ],
)
def test_durations_as_people_read_them(seconds: float, shown: str) -> None:
    assert durations.show(seconds) == shown


@given(st.text(alphabet="0123456789.smhd ", max_size=12) | st.from_regex(durations.PATTERN))
def test_the_pattern_of_the_api_document_allows_what_can_be_parsed(text: str) -> None:
    try:
        durations.parse(text)
    except ValueError:
        assert not re.search(durations.PATTERN, text)
    else:
        assert re.search(durations.PATTERN, text.strip())
