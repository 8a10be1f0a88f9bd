"""The exit-code table, row by row, and its reference page."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest

from kube_job_runner.cli import exitcodes, invocation
from kube_job_runner.client import Job
from tests.unit.cli.conftest import Kjr
from tests.unit.cli.stub import Stub, ended

PAGE = Path(__file__).parents[3] / "docs" / "reference" / "exit-codes.md"


def job(state: str, **more: Any) -> Job:
    """Return a job."""
    return Job(id="1", state=state, **more)


@pytest.mark.parametrize(
    ("record", "code"),
    [
        (job("succeeded", exit_code=0), 0),
        (job("succeeded"), 0),
        (job("failed", reason="ApplicationExit", exit_code=1), 1),
        (job("failed", reason="ApplicationExit", exit_code=3), 3),
        (job("failed", reason="ApplicationExit", exit_code=124), 124),
        (job("failed", reason="ApplicationExit", exit_code=255), 255),
        (job("failed", reason="OutOfMemory", exit_code=137), 137),
        (job("failed", reason="RunTimeout", exit_code=143), 124),
        (job("failed", reason="RunTimeout"), 124),
        (job("failed", reason="DeadlineExceeded"), 124),
        (job("failed", reason="CommandNotFound", exit_code=128), 127),
        (job("failed", reason="CommandNotExecutable", exit_code=128), 126),
        (job("failed", reason="WrongArchitecture"), 126),
        (job("failed", reason="ImageNotFound"), 125),
        (job("failed", reason="StartTimeout"), 125),
        (job("failed", reason="NodeLost"), 125),
        (job("failed", reason="SomethingNew"), 125),
        (job("failed"), 125),
        (job("failed", exit_code=0), 125),
        (job("failed", exit_code=256), 125),
        (job("failed", exit_code=-9), 125),
        (job("cancelled", reason="Cancelled", exit_code=143), 143),
        (job("cancelled", exit_code=0), 143),
        (job("running"), 75),
        (job("stopping"), 75),
        (job("hibernating"), 75),
    ],
    ids=lambda value: f"{value.state}-{value.reason}-{value.exit_code}" if isinstance(value, Job) else None,
)
def test_the_code_of_a_job(record: Job, code: int) -> None:
    assert exitcodes.of_job(record) == code


@pytest.mark.parametrize(
    ("states", "code"),
    [
        (["succeeded"] * 3, 0),
        (["succeeded", "failed"], 1),
        (["succeeded", "cancelled"], 1),
        (["failed", "running"], 75),
    ],
)
def test_the_code_of_several_jobs(states: list[str], code: int) -> None:
    assert exitcodes.of_jobs([job(state, exit_code=9) for state in states]) == code


@pytest.mark.parametrize(
    ("steps", "code"),
    [
        (ended("succeeded", "Completed", exit_code=0), 0),
        (ended("failed", "ApplicationExit", exit_code=3), 3),
        (ended("failed", "RunTimeout"), 124),
        (ended("failed", "ImageNotFound", ran=False), 125),
        (ended("failed", "CommandNotExecutable", ran=False), 126),
        (ended("failed", "CommandNotFound", ran=False), 127),
        (ended("cancelled", "Cancelled"), 143),
    ],
    ids=lambda value: value[-1]["reason"] if isinstance(value, list) else None,
)
@pytest.mark.parametrize("verb", ["run", "wait", "submit", "logs"])
def test_every_waiting_verb_returns_it(
    kjr_on: Kjr, stub: Stub, tmp_path: Path, verb: str, steps: list[dict[str, Any]], code: int
) -> None:
    stub.scenarios["it"] = steps
    if verb == "run":
        result = kjr_on("run", "it")
    elif verb == "submit":
        (tmp_path / "job.yaml").write_text("image: it")
        result = kjr_on("submit", "-f", str(tmp_path / "job.yaml"), "--wait")
    else:
        job_id = stub.store({"image": "it"})
        result = kjr_on("wait", job_id) if verb == "wait" else kjr_on("logs", "-f", "--exit-code", job_id)
    if verb == "logs" and not any(step["state"] == "running" for step in steps):
        code = 125  # there is no log at all, which is an error of its own
    assert result.code == code
    if code not in (0, 125):
        reason = steps[-1]["reason"]
        assert f"{reason}: About {reason}." in result.last_line
        assert result.last_line.startswith("kjr: job ")


def test_without_a_server_the_code_tells_who_failed(kjr: Kjr, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(invocation, "BUDGET_SECONDS", 0.0)
    server = ("--server", "http://127.0.0.1:9")
    assert kjr("list").code == 2
    assert kjr("run", "ok").code == 125
    assert kjr("version", *server).code == 1
    assert kjr("wait", "019ac7d3-5b5e-7c1a-8000-000000000001", *server).code == 125


@pytest.mark.parametrize("args", [["list"], ["run", "ok"], ["version"]])
def test_a_server_that_nobody_runs_is_told_within_two_seconds(kjr: Kjr, args: list[str]) -> None:
    began = time.monotonic()
    result = kjr("--server", "http://127.0.0.1:9", *args)
    assert time.monotonic() - began < 2.0
    assert "cannot reach http://127.0.0.1:9" in result.err
    assert result.last_line == "Is it running? Start one with `kjr up`, or name another with --server or KJR_SERVER."
    assert "idempotency" not in result.err  # nothing was sent, so nothing can be stored


@pytest.mark.parametrize(
    ("args", "code"),
    [
        (["get", "nothing"], 3),
        (["get", "019ac7d3-5b5e-7c1a-8000-000000000001"], 3),
        (["logs", "nothing"], 3),
        (["cancel", "nothing"], 3),
        (["wait", "nothing"], 125),
        (["list", "--token", "wrong"], 4),
        (["run", "--token", "wrong", "ok"], 125),
        (["list", "--nonsense"], 2),
        (["nonsense"], 2),
        (["wait", "--nonsense"], 125),
        (["run"], 125),
        (["run", "refused-image"], 125),
        (["list"], 0),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else None,
)
def test_the_codes_of_errors(kjr_on: Kjr, args: list[str], code: int) -> None:
    assert kjr_on(*args).code == code


def test_a_wait_that_is_over_returns_75(kjr_on: Kjr, stub: Stub) -> None:
    job_id = stub.add("hold")
    for args in (["wait"], ["wait", "--any"]):
        result = kjr_on(*args, "--wait-timeout", "0.2s", job_id)
        assert result.code == 75
        assert "is still running after 0.2s" in result.err
    assert stub.cancels == []


def test_the_reference_page_has_every_row() -> None:
    page = PAGE.read_text()
    for row in exitcodes.TABLE:
        assert f"| {row.code} | {row.meaning} |" in page
    for reason, code in exitcodes.BY_REASON.items():
        assert f"| `{reason}` | {code} |" in page
    rows = [line for line in page.splitlines() if line.startswith("| ") and not line.startswith(("| Code", "| Reason"))]
    assert len(rows) == len(exitcodes.TABLE) + len(exitcodes.BY_REASON)
