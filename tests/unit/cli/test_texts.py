"""Durations, and text from elsewhere that must not reach a terminal as it is."""

from __future__ import annotations

import json

import pytest

from kube_job_runner.cli import job_reference
from kube_job_runner.cli.terminal import durations, output, text


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


def test_nothing_that_moves_a_cursor_is_left() -> None:
    nasty = "a\x1b]0;title\x07b\x9b2Jc\rd\x08e\x00f\u202eg\u2066h\u2028i\x7f"
    for safe in (text.line(nasty), text.block(nasty)):
        assert safe == "a\\e]0;title\\x07b\\x9b2Jc\\rd\\x08e\\x00f\\u202eg\\u2066h\\u2028i\\x7f"
    assert text.line("a\nb\tc") == "a\\nb\\tc"
    assert text.block("a\nb\tc") == "a\nb\tc"
    assert text.line("grün €") == "grün €"


def test_json_stays_the_same_value() -> None:
    value = {"x": "\u202e\x9b\u2028\x7fä\x1b"}
    encoded = json.dumps(value, ensure_ascii=False)
    safe = text.json_safe(encoded)
    assert json.loads(safe) == value
    assert not set("\u202e\x9b\u2028\x7f") & set(safe)


@pytest.mark.parametrize("size", [1, 2, 3, 100])
def test_log_text_does_not_depend_on_how_it_is_cut(size: int) -> None:
    data = "10 %\r20 %\r\nä€\x1b[2J\n".encode() + b"\xff\r"
    writer = text.LogText()
    shown = "".join(writer.feed(data[at : at + size]) for at in range(0, len(data), size)) + writer.feed(
        b"", final=True
    )
    assert shown == "10 %\n20 %\nä€\\e[2J\n\\xff\n"


def test_short_ids_are_as_long_as_they_must_be() -> None:
    ids = [
        "019ac7d3-5b5e-7c1a-8000-000000000001",
        "019ac7d3-5b5e-7c1a-8100-000000000001",
        "019ac7d3-0000-7c1a-8000-000000000001",
    ]
    assert [*output.short_ids(ids).values()] == ["019ac7d3-5b5e-7c1a-80", "019ac7d3-5b5e-7c1a-81", "019ac7d3-0000-7c1a"]
    twice = output.short_ids([ids[0], ids[0]])
    assert twice == {ids[0]: "019ac7d3-5b5e-7c1a"}


def test_a_prefix_tells_its_time() -> None:
    span = job_reference.window("019ac7d3-5b5e")
    assert span is not None
    assert (span[1] - span[0]).total_seconds() == pytest.approx(1200, abs=1)
    assert job_reference.window("deadbeef") is None
    assert job_reference.window("00000000") is None
