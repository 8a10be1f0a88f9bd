"""What Ctrl-C and SIGTERM do: on a terminal they detach and, twice, cancel; elsewhere they cancel."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from tests.support.terminal import CTRL_C, on_terminal
from tests.unit.cli.processes import KJR, environ, process, wait_for
from tests.unit.cli.stub import Stub


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_stopped_pipeline_leaves_no_job(stub: Stub, number: signal.Signals, code: int) -> None:
    with process(stub, "run", "hold") as running:
        job_id = stub.wait_running()
        running.send_signal(number)
        _, err = running.communicate(timeout=20)
    assert running.returncode == code
    assert stub.cancels == [(job_id, f"kjr run was interrupted ({number.name})")]
    assert err.decode().splitlines()[-1] == f"kjr: job {job_id}: cancel requested ({number.name})"


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


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
@pytest.mark.parametrize("verb", [["wait"], ["logs", "-f"], ["wait", "--any"], ["events", "-f"]])
def test_verbs_that_only_look_leave_the_job_alone(
    stub: Stub, verb: list[str], number: signal.Signals, code: int
) -> None:
    job_id = stub.add("hold")
    with process(stub, *verb, job_id) as running:
        wait_for(lambda: len(stub.requests) >= 3)
        running.send_signal(number)
        _, err = running.communicate(timeout=20)
    assert running.returncode == code, err
    assert b"Traceback" not in err
    assert stub.cancels == []
    for way_back in ("logs -f", "wait", "cancel"):
        assert f"  kjr {way_back} {job_id}".encode() in err


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_stopped_submit_that_waits_leaves_no_job(
    stub: Stub, tmp_path: Path, number: signal.Signals, code: int
) -> None:
    (tmp_path / "jobs.json").write_text('[{"image": "ok"}, {"image": "hold"}, {"image": "queue"}]')
    with process(stub, "submit", "--wait", "-f", str(tmp_path / "jobs.json")) as running:
        assert running.stderr is not None
        while b"succeeded in" not in running.stderr.readline():
            pass
        running.send_signal(number)
        _, err = running.communicate(timeout=20)
    assert running.returncode == code, err
    assert [job_id for job_id, _ in stub.cancels] == [*stub.jobs][1:]
    assert err.decode().splitlines()[-1] == f"kjr: cancel of 2 of 2 jobs requested ({number.name})"


def test_on_a_terminal_a_submit_that_waits_detaches(stub: Stub, tmp_path: Path) -> None:
    (tmp_path / "job.json").write_text('{"image": "hold"}')
    with on_terminal([*KJR, "submit", "--wait", "-f", str(tmp_path / "job.json")], environ(stub)) as terminal:
        terminal.expect("submitted")
        terminal.expect("running")
        terminal.press(CTRL_C)
        assert terminal.finish() == 130
    assert stub.cancels == []
    assert f"  kjr wait {next(iter(stub.jobs))}".encode() in terminal.screen


def test_on_a_terminal_a_wait_for_many_counts(stub: Stub) -> None:
    ids = [stub.add("ok"), stub.add("never-started"), stub.add("hold")]
    with on_terminal([*KJR, "wait", *ids], environ(stub)) as terminal:
        terminal.expect("2/3, 1 not succeeded: 1 ImageNotFound; .*running")
        terminal.press(CTRL_C)
        assert terminal.finish() == 130


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
