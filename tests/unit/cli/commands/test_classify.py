"""`kjr classify`: no server, robust against any input, and the same answers as the table."""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path
from typing import Any

import pytest

from kube_job_runner.cli import main

CORPUS = Path(__file__).parents[3] / "fixtures" / "failure-messages.jsonl"


def answers(capsys: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    """Return the answers printed so far."""
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def test_every_record_of_the_corpus_gets_one_answer(capsys: pytest.CaptureFixture[str]) -> None:
    assert main.run(["classify", str(CORPUS)]) == 0
    found = answers(capsys)
    ids = [json.loads(line)["id"] for line in CORPUS.read_text().splitlines()]
    assert [answer["id"] for answer in found] == ids
    assert all(
        list(answer) == ["id", "category", "verdict", "grace_seconds", "reason", "rule", "explanation"]
        for answer in found
    )
    by_id = {answer["id"]: answer for answer in found}
    assert by_id["m082"]["grace_seconds"] == 600.0
    assert by_id["m283"] | {"explanation": ""} == {
        "id": "m283", "category": "unknown", "verdict": "wait", "grace_seconds": 0.0, "reason": "Unknown", "rule": None,
        "explanation": "",
    }  # fmt: skip


def test_stdin_is_read_and_settings_count(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    rules = tmp_path / "rules.yaml"
    rules.write_text("- {pattern: lunch, verdict: wait, name: lunch-break}\n")
    monkeypatch.setenv("KJR_FAILURE_RULES", str(rules))
    monkeypatch.setenv("KJR_IMAGE_GRACE_SECONDS", "3")
    lines = (
        b'{"where": "event", "message": "at lunch"}\n'
        b'{"where": "container.waiting", "reason": "ErrImagePull", "message": "not found"}'
    )
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(lines)))
    assert main.run(["classify"]) == 0
    first, second = answers(capsys)
    assert (first["rule"], first["verdict"], first["reason"]) == ("lunch-break", "wait", "Custom")
    assert "id" not in first
    assert second["grace_seconds"] == 3.0


def test_rules_of_an_option_replace_those_of_the_setting(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.setenv("KJR_FAILURE_RULES", str(tmp_path / "missing.yaml"))
    (tmp_path / "rules.json").write_text('[{"pattern": "x", "verdict": "fail_now"}]')
    (tmp_path / "in.jsonl").write_text('{"where": "api", "message": "x"}')
    assert main.run(["classify", str(tmp_path / "in.jsonl"), "--rules", str(tmp_path / "rules.json")]) == 0
    assert answers(capsys)[0]["verdict"] == "fail_now"
    assert main.run(["classify", str(tmp_path / "in.jsonl")]) == 2
    assert "KJR_FAILURE_RULES: " in capsys.readouterr().err


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (b"nope", "not JSON"),
        (b"\xff", "not JSON"),
        (b"[" * 100_000, "not JSON"),
        (b"[1]", "a record must be an object, not list"),
        (b"{}", "where: None is not a place"),
        (b'{"where": ["api"]}', "is not a place; use one of container.waiting"),
        (b'{"where": "api", "reason": 5}', "reason: must be a string"),
        (b'{"where": "api", "message": {}}', "message: must be a string"),
        (b'{"where": "api", "exit_code": "1"}', "exit_code: must be an integer"),
        (b'{"where": "api", "exit_code": true}', "exit_code: must be an integer"),
        (b'{"where": "api", "message": "' + b"x" * (1024 * 1024) + b'"}', "the line is longer than 1048576 bytes"),
        (b'{"where": "\x1b[31m"}', "not JSON"),
    ],
)
def test_a_bad_line_is_named_and_the_others_are_answered(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], line: bytes, said: str
) -> None:
    good = b'{"where": "api", "reason": null, "message": null, "exit_code": null}'
    (tmp_path / "in.jsonl").write_bytes(b"\n".join([good, b"", b"  ", line, good]) + b"\n")
    assert main.run(["classify", str(tmp_path / "in.jsonl")]) == 1
    shown = capsys.readouterr()
    assert len(shown.out.splitlines()) == 2
    assert shown.err.startswith("kjr: line 4: ")
    assert said in shown.err
    assert "\x1b" not in shown.err


def test_an_answer_cannot_move_the_cursor(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    record = {"where": "container.terminated", "reason": "Error", "message": "\x1b[2J\u202e\x9b1A", "exit_code": 1}
    (tmp_path / "in.jsonl").write_text(json.dumps(record))
    assert main.run(["classify", str(tmp_path / "in.jsonl")]) == 0
    shown = capsys.readouterr().out
    assert all(letter.isprintable() or letter == "\n" for letter in shown)


def test_a_wrong_rule_stops_at_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "rules.yaml").write_text("- {pattern: x}\n")
    assert main.run(["classify", str(CORPUS), "--rules", str(tmp_path / "rules.yaml")]) == 2
    shown = capsys.readouterr()
    assert shown.out == ""
    assert "--rules: " in shown.err
    assert "failure rule 0: verdict: is missing" in shown.err
