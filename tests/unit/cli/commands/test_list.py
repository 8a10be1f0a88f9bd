"""`kjr list`: filters, formats, paging and watching."""

from __future__ import annotations

import json
import signal

import pytest
import yaml

from tests.support.terminal import CTRL_C, on_terminal
from tests.unit.cli.conftest import Kjr
from tests.unit.cli.processes import KJR, environ, process
from tests.unit.cli.stub import Stub


def test_a_list_is_a_table_for_people(kjr_on: Kjr, stub: Stub) -> None:
    stub.add("ok")
    stub.add("never-started", name="unlucky")
    stub.add("hold")
    result = kjr_on("ls")
    lines = result.text.splitlines()
    assert lines[0].split() == ["ID", "STATE", "NAME", "QUEUE", "REASON", "EXIT", "ATTEMPT", "AGE", "DURATION"]
    assert [line.split()[1:4] for line in lines[1:]] == [
        ["●", "running", "hold"],
        ["✗", "failed", "unlucky"],
        ["✓", "succeeded", "ok"],
    ]
    assert lines[3].split()[5:8] == ["Completed", "0", "1"]
    assert len({line.index(word) for line, word in zip(lines, ["STATE", "●", "✗", "✓"], strict=True)}) == 1
    assert result.err == ""


@pytest.mark.parametrize("verb", ["list", "ls", "ps"])
def test_filters_are_passed_on(kjr_on: Kjr, stub: Stub, verb: str) -> None:
    kjr_on(
        verb,
        "--state",
        "failed",
        "--state",
        "running",
        "--queue",
        "q",
        "-l",
        "a=b",
        "-l",
        "c",
        "--name",
        "n",
        "--namespace",
        "ns",
        "--since",
        "2h",
    )
    ((_, path),) = stub.requests
    for part in (
        "state=failed%2Crunning",
        "queue=q",
        "labels=a%3Db%2Cc",
        "name=n",
        "namespace=ns",
        "created_after=2",
        "limit=21",
    ):
        assert part in path


def test_a_list_says_that_there_is_more(kjr_on: Kjr, stub: Stub) -> None:
    for _ in range(4):
        stub.add("ok")
    result = kjr_on("list", "--limit", "3")
    assert len(result.text.splitlines()) == 4
    assert "newest 3" in result.err
    assert kjr_on("list", "--limit", "3", "-q").err == ""
    assert len(kjr_on("list", "--limit", "4", "-o", "id").text.splitlines()) == 4


def test_the_forms_of_a_list(kjr_on: Kjr, stub: Stub) -> None:
    ids = [stub.add("ok", labels={"a": "b"}), stub.add("hold")]
    assert [job["id"] for job in kjr_on("list", "-o", "json").json] == ids[::-1]
    assert [json.loads(line)["id"] for line in kjr_on("list", "-o", "jsonl").text.splitlines()] == ids[::-1]
    assert [job["id"] for job in yaml.safe_load_all(kjr_on("list", "-o", "yaml").text)] == ids[::-1]
    assert kjr_on("list", "-o", "name").text.split() == ["hold", "ok"]
    assert kjr_on("list", "-o", "id").text.split() == ids[::-1]
    wide = kjr_on("list", "-o", "wide").text
    assert ids[0] in wide
    assert "a=b" in wide
    assert "About Completed." in wide


def test_an_empty_list(kjr_on: Kjr) -> None:
    result = kjr_on("list")
    assert result.code == 0
    assert "no jobs match" in result.err
    assert kjr_on("list", "-o", "json").json == []


UNKNOWN = "0199d1f2-7c00-7a3b-8c4d-5e6f708192a3"


def test_list_filters_by_reason_and_by_what_is_run_again(kjr_on: Kjr, stub: Stub) -> None:
    failed, other = stub.add("never-started"), stub.add("ok", rerun_of=UNKNOWN)
    for flag in ("--reason", "--cause"):
        assert kjr_on("list", flag, "ImageNotFound", "-o", "id").text == f"{failed}\n"
    stub.jobs[other]["rerun_of"] = failed
    assert kjr_on("list", "--rerun-of", failed, "-o", "id").text == f"{other}\n"
    assert kjr_on("list", "--rerun-of", UNKNOWN).code == 3


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
