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
