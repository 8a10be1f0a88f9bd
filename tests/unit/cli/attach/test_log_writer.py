"""A log on a terminal is escaped, and a reader that closes the pipe ends nothing else."""

from __future__ import annotations

from tests.support.terminal import on_terminal
from tests.unit.cli.processes import KJR, environ, process
from tests.unit.cli.stub import Stub


def test_on_a_terminal_the_log_cannot_write_what_it_wants(stub: Stub) -> None:
    stub.logs["ok"] = b"50 %\r100 %\r\n\x1b]0;owned\x07\x1b[2Jclear\xe2\x80\xae\n"
    with on_terminal([*KJR, "run", "ok"], environ(stub)) as terminal:
        assert terminal.finish() == 0
    assert b"\\e]0;owned\\x07\\e[2Jclear\\u202e" in terminal.screen
    assert b"\x1b]0;" not in terminal.screen
    assert b"50 %\r\n100 %\r\n" in terminal.screen


def test_on_a_terminal_a_log_keeps_its_colours_and_nothing_else(stub: Stub) -> None:
    stub.logs["ok"] = b"\x1b[31mred\x1b[1;38;5;4mblue\x1b[2K \x1b[5n\x1b[31"
    with on_terminal([*KJR, "run", "ok"], environ(stub)) as terminal:
        assert terminal.finish() == 0
    assert b"\x1b[31mred\x1b[1;38;5;4mblue\\e[2K \\e[5n\\e[31\x1b[0m\r\n" in terminal.screen
    with on_terminal([*KJR, "--no-color", "run", "ok"], environ(stub)) as terminal:
        assert terminal.finish() == 0
    assert b"\\e[31mred\\e[1;38;5;4mblue" in terminal.screen


def test_a_reader_that_goes_away_is_no_traceback(stub: Stub) -> None:
    stub.logs["ok"] = b"x" * 10_000_000
    job_id = stub.add("ok")
    with process(stub, "logs", job_id) as running:
        assert running.stdout is not None
        assert running.stdout.read(10) == b"x" * 10
        running.stdout.close()
        assert running.stderr is not None
        err = running.stderr.read()
        running.wait(20)
    assert (running.returncode, err) == (141, b"")


def test_a_reader_that_goes_away_does_not_end_a_run(stub: Stub) -> None:
    stub.logs["hold"] = b"x" * 1_000_000
    with process(stub, "run", "hold") as running:
        job_id = stub.wait_running()
        assert running.stdout is not None
        running.stdout.read(10)
        running.stdout.close()
        stub.end(job_id, state="failed", reason="ApplicationExit", exit_code=9, finished_at="2026-01-01T00:00:09Z")
        running.wait(20)
    assert running.returncode == 9
