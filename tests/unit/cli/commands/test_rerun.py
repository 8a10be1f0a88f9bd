"""`kjr rerun`: changes, refusals, waiting and keys."""

from __future__ import annotations

import pytest

from tests.unit.cli.conftest import Kjr
from tests.unit.cli.stub import LOG, Stub, ended


def test_rerun_sends_typed_changes_and_prints_the_new_id(kjr_on: Kjr, stub: Stub) -> None:
    job_id = stub.add("ok")
    sets = [
        "resources.memory=2Gi",
        "timeouts.run_seconds=10m",
        "env.N=5",
        "args[0]=7",
        "/retry/attempts=3",
        "queue=null",
    ]
    result = kjr_on("rerun", job_id, *[word for one in sets for word in ("--set", one)])
    assert result.code == 0, result.err
    (new,) = [key for key in stub.jobs if key != job_id]
    assert result.text == f"{new}\n"
    assert stub.reruns[0]["set"] == {
        "resources.memory": "2Gi",
        "timeouts.run_seconds": 600,
        "env.N": "5",
        "args[0]": 7,
        "/retry/attempts": 3,
        "queue": None,
    }
    assert kjr_on("get", "@last", "-o", "id").text == f"{new}\n"
    assert "force" not in stub.reruns[0]


def test_rerun_reports_what_is_refused_and_goes_on(kjr_on: Kjr, stub: Stub) -> None:
    done, going = stub.add("ok"), stub.add("hold")
    result = kjr_on("rerun", going, done)
    assert result.code == 1
    assert f"job {going} is running: cancel it first, or use --force to run both" in result.err
    assert len(result.text.splitlines()) == 1
    assert kjr_on("rerun", going, "--force").code == 0
    refused = kjr_on("rerun", done, "--set", "priority=500")
    assert (refused.code, refused.out) == (1, b"")
    assert f"job {done} cannot be run again: bad priority\n  /priority: too much" in refused.err
    assert kjr_on("rerun", done, "--set", "priority=500", "--wait").code == 125
    assert "warning: /x was ignored" in kjr_on("rerun", done, "--set", "name=n").err


def test_rerun_can_wait_and_show_the_log(kjr_on: Kjr, stub: Stub) -> None:
    stub.scenarios["bad"] = ended("failed", "ApplicationExit", exit_code=3)
    job_id = stub.add("bad")
    waited = kjr_on("rerun", job_id, "--wait", "-o", "json")
    assert (waited.code, waited.json["rerun_of"], waited.json["state"]) == (3, job_id, "failed")
    shown = kjr_on("rerun", job_id, "--logs")
    assert (shown.code, shown.out) == (3, LOG)
    assert shown.last_line.endswith(
        "failed: ApplicationExit: About ApplicationExit. (docs: kjr explain ApplicationExit)"
    )
    both = kjr_on("rerun", job_id, stub.add("hold"), "--wait")
    assert both.code == 3  # one was refused, and the other has its own code
    assert kjr_on("rerun", stub.add("hold"), "--logs").code == 125


@pytest.mark.parametrize(
    "args", [["a", "b", "--logs"], ["a", "b", "--idempotency-key", "k"], ["a", "--set", "x"], [], ["a", "--set", "a..b=1"],
             ["a", "--set", "queue=a", "--set", "queue=b"]]
)  # fmt: skip
def test_rerun_in_a_wrong_way_is_2(kjr_on: Kjr, stub: Stub, args: list[str]) -> None:
    assert kjr_on("rerun", *args).code == 2
    assert stub.requests == []


def test_one_key_is_sent_for_one_rerun(kjr_on: Kjr, stub: Stub) -> None:
    job_id = stub.add("ok")
    kjr_on("rerun", job_id, "--idempotency-key", "mine")
    kjr_on("rerun", job_id)
    kjr_on("rerun", job_id)
    keys = [rerun["key"] for rerun in stub.reruns]
    assert keys[0] == "mine"
    assert len(set(keys)) == 3
