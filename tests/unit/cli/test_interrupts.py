"""What Ctrl-C and SIGTERM do: on a terminal they detach and, twice, cancel; elsewhere they cancel."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from kube_job_runner.cli.invocation import Invocation
from tests.support.terminal import CTRL_C, on_terminal
from tests.unit.cli.stub import LOG, TOKEN, Stub

KJR = [sys.executable, "-m", "kube_job_runner.cli.main"]


def environ(stub: Stub) -> dict[str, str]:
    """Return the environment of a process that talks to the stub."""
    return {**os.environ, "KJR_SERVER": stub.url, "KJR_TOKEN": TOKEN}


@contextmanager
def process(stub: Stub, *args: str) -> Iterator[subprocess.Popen[bytes]]:
    """Run `kjr` without a terminal."""
    running = subprocess.Popen(
        [*KJR, *args], env=environ(stub), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    with running:
        try:
            yield running
        finally:
            if running.poll() is None:
                running.kill()


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_stopped_pipeline_leaves_no_job(stub: Stub, number: signal.Signals, code: int) -> None:
    with process(stub, "run", "hold") as running:
        job_id = stub.wait_running()
        running.send_signal(number)
        _, err = running.communicate(timeout=20)
    assert running.returncode == code
    assert stub.cancels == [(job_id, f"kjr run was interrupted ({number.name})")]
    assert err.decode().splitlines()[-1] == f"kjr: job {job_id}: cancel requested ({number.name})"


def test_nothing_is_said_about_connections_that_we_close_ourselves(monkeypatch: pytest.MonkeyPatch) -> None:
    invocation = Invocation()
    said: list[str] = []
    monkeypatch.setattr(invocation, "say", said.append)
    invocation._on_retry("cannot reach the server", 0.1)
    invocation.ending = True
    invocation._on_retry("[Errno 9] Bad file descriptor", 0.1)
    assert said == ["kjr: cannot reach the server; trying again in 0.1s"]


def test_a_job_whose_submit_is_under_way_is_cancelled_too(stub: Stub) -> None:
    stub.submit_gate.clear()
    with process(stub, "run", "hold") as running:
        wait_for(lambda: ("POST", "/v1/jobs") in stub.requests)
        running.send_signal(signal.SIGTERM)
        stub.submit_gate.set()
        running.communicate(timeout=20)
    assert running.returncode == 143
    assert [job["state"] for job in stub.jobs.values()] == ["cancelled"]


def test_detach_can_be_asked_for_without_a_terminal(stub: Stub) -> None:
    with process(stub, "run", "--on-interrupt", "detach", "hold") as running:
        job_id = stub.wait_running()
        running.send_signal(signal.SIGTERM)
        _, err = running.communicate(timeout=20)
    assert running.returncode == 143
    assert stub.cancels == []
    assert f"  kjr wait {job_id}" in err.decode()


@pytest.mark.parametrize("verb", [["wait"], ["logs", "-f"], ["wait", "--any"]])
def test_other_verbs_leave_the_job_alone(stub: Stub, verb: list[str]) -> None:
    job_id = stub.add("hold")
    with process(stub, *verb, job_id) as running:
        wait_for(lambda: len(stub.requests) >= 3)
        running.send_signal(signal.SIGINT)
        _, err = running.communicate(timeout=20)
    assert running.returncode == 130, err
    assert b"Traceback" not in err
    assert stub.cancels == []


def test_on_a_terminal_ctrl_c_detaches(stub: Stub) -> None:
    with on_terminal([*KJR, "run", "hold"], environ(stub)) as terminal:
        terminal.expect("Ctrl-C detaches, twice cancels")
        terminal.expect("line 2")
        terminal.press(CTRL_C)
        assert terminal.finish() == 130
    (job_id,) = stub.jobs
    for verb in ("logs -f", "wait", "cancel"):
        assert f"kjr {verb} {job_id}".encode() in terminal.screen
    assert stub.cancels == []


def test_on_a_terminal_ctrl_c_twice_cancels(stub: Stub) -> None:
    with on_terminal([*KJR, "run", "hold"], environ(stub)) as terminal:
        terminal.expect("line 2")
        terminal.press(CTRL_C)
        terminal.expect("Ctrl-C again cancels")
        terminal.press(CTRL_C)
        assert terminal.finish() == 130
    assert len(stub.cancels) == 1
    assert b"cancel requested (SIGINT)" in terminal.screen


def test_on_a_terminal_the_log_cannot_write_what_it_wants(stub: Stub) -> None:
    stub.logs["ok"] = b"50 %\r100 %\r\n\x1b]0;owned\x07\x1b[2Jclear\xe2\x80\xae\n"
    with on_terminal([*KJR, "run", "ok"], environ(stub)) as terminal:
        assert terminal.finish() == 0
    assert b"\\e]0;owned\\x07\\e[2Jclear\\u202e" in terminal.screen
    assert b"\x1b]0;" not in terminal.screen
    assert b"50 %\r\n100 %\r\n" in terminal.screen


def test_on_a_terminal_a_table_has_words_beside_its_colours(stub: Stub) -> None:
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


def test_the_living_phase_line_ends_as_text(stub: Stub) -> None:
    with on_terminal([*KJR, "run", "never-started"], environ(stub)) as terminal:
        assert terminal.finish() == 125
    (job_id,) = stub.jobs
    screen = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", terminal.screen.decode())
    *_, phases, last = screen.rstrip().splitlines()
    assert re.search(r"✓ queued [0-9.]+s  starting [0-9.]+s$", phases.rstrip())
    assert last == f"kjr: job {job_id} failed: ImageNotFound: About ImageNotFound. (docs: kjr explain ImageNotFound)"


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


def test_a_run_outlives_its_log(stub: Stub) -> None:
    with process(stub, "run", "hold", "-o", "json") as running:
        job_id = stub.wait_running()
        stub.end(job_id, state="succeeded", exit_code=0, finished_at="2026-01-01T00:00:09Z")
        out, err = running.communicate(timeout=20)
    assert running.returncode == 0
    assert out.startswith(b"{")
    assert LOG in err


def test_a_submit_without_an_answer_names_the_key_to_try_again_with(stub: Stub) -> None:
    stub.submit_gate.clear()
    with process(stub, "run", "--on-interrupt", "detach", "--idempotency-key", "the-key", "hold") as running:
        wait_for(lambda: ("POST", "/v1/jobs") in stub.requests)
        running.send_signal(signal.SIGINT)
        _, err = running.communicate(timeout=20)
    assert running.returncode == 130
    assert b"run the same again with --idempotency-key the-key" in err


def test_a_watched_list_into_a_pipe_has_a_line_per_change(stub: Stub) -> None:
    job_id = stub.add("hold")
    with process(stub, "list", "-w", "-o", "json") as running:
        assert running.stdout is not None
        first = json.loads(running.stdout.readline())
        stub.end(job_id, state="failed", finished_at="2026-01-01T00:00:09Z")
        second = json.loads(running.stdout.readline())
        running.send_signal(signal.SIGINT)
        rest, err = running.communicate(timeout=20)
    assert [(job["id"], job["state"]) for job in (first, second)] == [(job_id, "running"), (job_id, "failed")]
    assert (running.returncode, rest) == (130, b"")
    assert b"Traceback" not in err


def test_a_watched_list_on_a_terminal_is_redrawn(stub: Stub) -> None:
    job_id = stub.add("hold")
    with on_terminal([*KJR, "list", "-w"], environ(stub)) as terminal:
        terminal.expect("running")
        stub.end(job_id, state="failed", finished_at="2026-01-01T00:00:09Z")
        terminal.expect("failed")
        terminal.press(CTRL_C)
        assert terminal.finish() == 130


def wait_for(condition: Callable[[], bool], timeout_seconds: float = 15.0) -> None:
    """Poll until a condition of the stub holds."""
    deadline = time.monotonic() + timeout_seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)
