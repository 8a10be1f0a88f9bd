"""Foreign text does not reach a terminal unescaped."""

from __future__ import annotations

import json

import pytest

from kube_job_runner.cli.terminal import text


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


@pytest.mark.parametrize("size", [1, 2, 3, 100])
def test_styles_do_not_depend_on_how_a_log_is_cut(size: int) -> None:
    data = b"\x1b[1;31mA\x1b[0m\r\n\x1b[38:5:1mB\x1b[m\x1b[31\x1b[2J" + b"\x1b[" + b"1" * 60 + b"m\x1b"
    writer = text.LogText(styles=True)
    shown = "".join(writer.feed(data[at : at + size]) for at in range(0, len(data), size)) + writer.feed(
        b"", final=True
    )
    assert shown == "\x1b[1;31mA\x1b[0m\n\x1b[38:5:1mB\x1b[m\\e[31\\e[2J\\e[" + "1" * 60 + "m\\e"
    assert not writer.styled
