"""A run with its log, and a submit without an answer."""

from __future__ import annotations

import signal

from tests.unit.cli.processes import process, wait_for
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
