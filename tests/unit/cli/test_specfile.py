"""Files that cannot be read as job specs say why."""

from __future__ import annotations

from pathlib import Path

import pytest

from kube_job_runner.cli import specfile
from tests.unit.cli.conftest import Kjr
from tests.unit.cli.stub import Stub


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "it holds no job"),
        ("just text", "must be an object"),
        ("image: [", "f"),
        ("image: a\nimage: b\n", "'image' occurs twice"),
        ('{"image": "a", "image": "b"}', "'image' occurs twice"),
        ("apiVersion: batch/v1\nkind: Job\n", "batch/v1 Job cannot be submitted"),
        ("image: a\ntimeouts: {run_seconds: soon}\n", "run_seconds: 'soon' is not a duration"),
        ("image: a\nenv: {A: .nan}\n", "/env/A is not a finite number; write it in quotes if it is text"),
        ('[{"image": "a", "priority": Infinity}]', "/priority is not a finite number"),
        ("image: a\nenv: {NO: a, 'NO': b}\n", "'NO' occurs twice"),
        ("image: !!python/object:os.system a\n", "could not determine a constructor"),
    ],
)
def test_a_file_that_cannot_be_read_says_why(
    kjr_on: Kjr, stub: Stub, tmp_path: Path, content: str, message: str
) -> None:
    (tmp_path / "f").write_text(content)
    result = kjr_on("submit", "-f", str(tmp_path / "f"))
    assert result.code == 2
    assert message in result.err
    assert stub.requests == []


@pytest.mark.parametrize(
    ("written", "key", "value"),
    [
        ("NO: zz", "NO", "zz"),
        ("on: zz", "on", "zz"),
        ("null: zz", "null", "zz"),
        ("true: zz", "true", "zz"),
        ("1: zz", "1", "zz"),
        ("2026-02-08: zz", "2026-02-08", "zz"),
        ("A: NO", "A", "NO"),
        ("A: off", "A", "off"),
        ("A: 2026-02-08 15:04:50.825709", "A", "2026-02-08 15:04:50.825709"),
        ("A: 12:30:45", "A", "12:30:45"),
        ("A: 1_000", "A", "1_000"),
        ("A: =", "A", "="),
        ("A: 0b11", "A", "0b11"),
        ("A: 1.2.3", "A", "1.2.3"),
        ("A: 'true'", "A", "true"),
        ("A: a\u2028B=b", "A", "a\u2028B=b"),
        ("A: a\x85b\u2029c", "A", "a\x85b\u2029c"),
        ("A: |-\n    a\u2028  b", "A", "a\u2028  b"),
    ],
)
def test_a_yaml_scalar_is_the_text_that_was_written(tmp_path: Path, written: str, key: str, value: str) -> None:
    (tmp_path / "f").write_text(f"image: a\nenv:\n  {written}\n", encoding="utf-8")
    assert specfile.load(str(tmp_path / "f")) == [{"image": "a", "env": {key: value}}]


@pytest.mark.parametrize(
    ("written", "value"),
    [
        ("true", True),
        ("false", False),
        ("3", 3),
        ("010", 10),
        ("0o10", 8),
        ("0x10", 16),
        ("1e3", 1000.0),
        ("-1.5", -1.5),
        ("~", None),
        ("null", None),
        ("", None),
    ],
)
def test_a_yaml_number_truth_value_or_null_has_its_type(tmp_path: Path, written: str, value: object) -> None:
    (tmp_path / "f").write_text(f"image: {written}\n")
    (spec,) = specfile.load(str(tmp_path / "f"))
    assert (spec["image"], type(spec["image"])) == (value, type(value))


def test_a_merge_key_is_followed(tmp_path: Path) -> None:
    text = "- &base\n  image: a\n  env: {A: x}\n- <<: *base\n  image: b\n"
    (tmp_path / "f").write_text(text)
    assert specfile.load(str(tmp_path / "f")) == [{"image": "a", "env": {"A": "x"}}, {"image": "b", "env": {"A": "x"}}]


@pytest.mark.parametrize("text", ['{"image": "a"}', '{"image": "a"}\n{"image": "a\\u2028"}\n', "image: a\r\n"])
def test_a_byte_order_mark_is_no_part_of_a_file(tmp_path: Path, text: str) -> None:
    (tmp_path / "f").write_bytes(b"\xef\xbb\xbf" + text.encode())
    assert specfile.load(str(tmp_path / "f"))[0] == {"image": "a"}


def test_a_line_separator_ends_no_line_of_json(tmp_path: Path) -> None:
    (tmp_path / "f").write_text('{"image": "a\u2028b"}\n{"image": "c"}\n', encoding="utf-8")
    assert specfile.load(str(tmp_path / "f")) == [{"image": "a\u2028b"}, {"image": "c"}]
