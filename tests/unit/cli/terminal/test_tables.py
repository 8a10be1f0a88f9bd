"""States on a terminal have words as well as colours."""

from __future__ import annotations

from tests.support.terminal import on_terminal
from tests.unit.cli.processes import KJR, environ
from tests.unit.cli.stub import Stub


def test_on_a_terminal_a_table_has_words_with_its_colours(stub: Stub) -> None:
    stub.add("ok", name="na\x1b[31mme")
    stub.add("never-started")
    with on_terminal([*KJR, "list"], environ(stub)) as terminal:
        assert terminal.finish() == 0
    screen = terminal.screen.decode()
    assert "✓ succeeded" in screen
    assert "✗ failed" in screen
    assert "na\\e[31mme" in screen
    assert "\x1b[32m" in screen
    for args, more in ((["--no-color", "list"], {}), (["list"], {"NO_COLOR": "1"})):
        with on_terminal([*KJR, *args], environ(stub) | more) as terminal:
            assert terminal.finish() == 0
        assert b"\x1b[3" not in terminal.screen


def test_long_facts_are_wrapped_between_words_on_a_narrow_terminal(stub: Stub) -> None:
    stub.add("never-started", name="a-name")
    with on_terminal([*KJR, "get", "a-name"], environ(stub), columns=40) as terminal:
        assert terminal.finish() == 0
    lines = terminal.screen.decode().replace("\r\n", "\n").splitlines()
    assert "  explanation     About ImageNotFound." in lines
    (at,) = (number for number, line in enumerate(lines) if line.startswith("  submitted"))
    assert lines[at + 1].startswith(" " * 18)
    assert max(map(len, lines)) <= 60  # escape sequences of colours included
