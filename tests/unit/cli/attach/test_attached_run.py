"""A run with its log, and a submit without an answer."""

from __future__ import annotations

import re
import signal
from datetime import UTC, datetime, timedelta

from tests.support.terminal import on_terminal
from tests.unit.cli.processes import KJR, environ, process, wait_for
from tests.unit.cli.stub import LOG, Stub


def test_a_run_outlives_its_log(stub: Stub) -> None:
    with process(stub, "run", "-o", "json", "hold") as running:
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
    assert b"run the same command again with --idempotency-key the-key" in err


def retry(stub: Stub) -> str:
    """Let a running job fail, and wait eight seconds for its second attempt; return its id."""
    job_id = stub.wait_running()
    due_at = (datetime.now(UTC) + timedelta(seconds=8)).isoformat()
    failed = {"reason": "ApplicationExit", "explanation": "Container main exited with code 1."}
    stub.end(job_id, state="queued", attempt=1, due_at=due_at, **failed)
    return job_id


def end(stub: Stub, job_id: str) -> None:
    """Let the second attempt succeed."""
    stub.end(job_id, state="running", attempt=2, reason=None, explanation=None)
    stub.end(job_id, state="succeeded", exit_code=0, finished_at="2026-01-01T00:00:09Z")


def test_a_retry_is_told_when_it_happens(stub: Stub) -> None:
    with process(stub, "run", "hold") as running:
        job_id = retry(stub)
        wait_for(
            lambda: ("GET", f"/v1/jobs/{job_id}") in [(method, path.split("?")[0]) for method, path in stub.requests]
        )
        assert running.stderr is not None
        lines: list[str] = []
        while not lines or "attempt 1 failed" not in lines[-1]:
            lines.append(running.stderr.readline().decode())
        end(stub, job_id)
        _, err = running.communicate(timeout=20)
    assert re.search(
        r"attempt 1 failed: ApplicationExit: Container main exited with code 1. \(attempt 2 in [678](\.\d)?s\)",
        lines[-1],
    )
    assert b"attempt 1 failed" not in err
    assert running.returncode == 0


def test_on_a_terminal_the_wait_for_a_retry_is_counted_down(stub: Stub) -> None:
    with on_terminal([*KJR, "run", "hold"], environ(stub)) as terminal:
        job_id = retry(stub)
        terminal.expect(r"attempt 1 failed: ApplicationExit")
        terminal.expect(r"queued \(attempt 2\).*starts in [567](\.\d)?s")
        end(stub, job_id)
        assert terminal.finish() == 0
