"""`kjr run`: its flags, what it prints, and what it says when the server is lost."""

from __future__ import annotations

import socket
import threading
from pathlib import Path

import pytest
import yaml

from kube_job_runner.cli import invocation
from tests.unit.cli.conftest import Kjr
from tests.unit.cli.stub import LOG, Stub, ended


def test_run_prints_the_log_and_nothing_else_on_stdout(kjr_on: Kjr, stub: Stub) -> None:
    result = kjr_on("run", "ok", "--", "echo", "-n", "hi")
    assert (result.code, result.out) == (0, LOG)
    (spec,) = stub.specs.values()
    assert spec["command"] == ["echo", "-n", "hi"]
    assert "succeeded in 14s" in result.last_line
    states = [line.split()[3] for line in result.err.splitlines() if " after " in line or line.endswith("queued")]
    assert states == ["queued", "starting", "running", "succeeded"]


def test_a_line_of_an_env_file_ends_with_a_line_feed_and_keeps_every_other_character(
    kjr_on: Kjr, stub: Stub, tmp_path: Path
) -> None:
    env_file = tmp_path / "env"
    text = "\ufeffFIRST=1\r\nLS=a\u2028B=b\n  PLAIN=x  \n\t# comment\n\x85=c\nVT=a\x0bC=d\nCR=a\rD=e\nLAST= y"
    env_file.write_bytes(text.encode())
    assert kjr_on("run", "-d", "--env-file", str(env_file), "ok", "--", "x").code == 0
    (spec,) = stub.specs.values()
    assert spec["env"] == {
        "FIRST": "1",
        "LS": "a\u2028B=b",
        "PLAIN": "x  ",
        "\x85": "c",
        "VT": "a\x0bC=d",
        "CR": "a\rD=e",
        "LAST": " y",
    }


def test_run_passes_every_flag_on(kjr_on: Kjr, stub: Stub, tmp_path: Path) -> None:
    env_file = tmp_path / "env"
    env_file.write_text("# comment\n\nFROM_FILE=a=b\nBOTH=file\n")
    result = kjr_on(
        "run", "-d", "-e", "A=1", "-e", "BOTH=flag", "--env-file", str(env_file), "--secret", "TOK=s:k", "--secret",
        "PLAIN=other", "--cpu", "500m", "--memory", "1Gi", "--gpu", "2", "-q", "etl", "--name", "n", "-l", "team=x",
        "--timeout", "1h30m", "--start-timeout", "90", "--queue-timeout", "2d", "--retries", "3", "--priority", "-5",
        "--namespace", "ns", "--service-account", "sa", "--workdir", "/w", "--keep-entrypoint", "ok", "--", "x",
    )  # fmt: skip
    assert result.code == 0, result.err
    assert [*stub.specs.values()] == [
        {
            "image": "ok",
            "name": "n",
            "args": ["x"],
            "env": {"FROM_FILE": "a=b", "BOTH": "flag", "A": "1"},
            "secrets": [{"env": "TOK", "name": "s", "key": "k"}, {"env": "PLAIN", "name": "other", "key": "PLAIN"}],
            "labels": {"team": "x"},
            "queue": "etl",
            "namespace": "ns",
            "service_account": "sa",
            "working_dir": "/w",
            "priority": -5,
            "resources": {"cpu": "500m", "memory": "1Gi", "gpu": 2},
            "timeouts": {"run_seconds": 5400, "start_seconds": 90, "queue_seconds": 172_800},
            "retry": {"attempts": 4},
        }
    ]


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["--timeout", "soon"], "not a duration"),
        (["--timeout", "0.5s"], "whole number of seconds"),
        (["-e", "NOVALUE"], "KEY=VALUE"),
        (["--secret", "TOK"], "ENV=NAME:KEY"),
        (["--env-file", "/does/not/exist"], "/does/not/exist"),
    ],
)
def test_run_says_how_a_flag_is_written(kjr: Kjr, args: list[str], message: str) -> None:
    result = kjr("run", *args, "img")
    assert result.code == 125
    assert message in result.err
    assert result.out == b""


@pytest.mark.parametrize(
    "command",
    [
        ["ls", "-d", "/tmp"],
        ["grep", "-e", "root=x", "/etc/passwd"],
        ["head", "-q", "FILE"],
        ["ls", "-l"],
        ["ls", "--", "-l"],
        ["tool", "--help", "--version"],
        ["tool", "--memory"],
        ["tool", "-o", "json", "--dry-run", "--token", "x"],
    ],
)
@pytest.mark.parametrize("dashes", [[], ["--"]])
def test_options_end_at_the_image(kjr_on: Kjr, command: list[str], dashes: list[str]) -> None:
    result = kjr_on("run", "--dry-run", "-o", "json", "ok", *dashes, *command)
    assert result.json == {"image": "ok", "command": command}


def test_a_command_that_begins_with_a_dash_needs_two_before_it(kjr_on: Kjr, stub: Stub) -> None:
    refused = kjr_on("run", "ok", "-d", "--", "echo")
    assert (refused.code, stub.requests) == (125, [])
    assert (
        "-d follows IMAGE, so it belongs to the command of the container. Put options of kjr before IMAGE"
        in refused.err
    )
    dry = ("run", "--dry-run", "-o", "json")
    assert kjr_on(*dry, "ok", "--", "-x").json == {"image": "ok", "command": ["-x"]}
    assert kjr_on(*dry, "--keep-entrypoint", "ok", "-x", "--", "y").json == {"image": "ok", "args": ["-x", "--", "y"]}


def test_a_dry_run_submits_nothing(kjr_on: Kjr, stub: Stub) -> None:
    result = kjr_on("run", "--dry-run", "-o", "json", "ok", "--", "x")
    assert result.json == {"image": "ok", "command": ["x"]}
    assert yaml.safe_load(kjr_on("run", "--dry-run", "ok").text) == {"image": "ok"}
    assert stub.requests == []


def test_detach_prints_the_id_alone_and_three_commands(kjr_on: Kjr, stub: Stub) -> None:
    result = kjr_on("run", "-d", "hold")
    (job_id,) = stub.jobs
    assert result.text == f"{job_id}\n"
    for line in (f"  kjr logs -f {job_id}", f"  kjr wait {job_id}", f"  kjr cancel {job_id}"):
        assert line in result.err.splitlines()
    assert kjr_on("run", "--quiet", "-d", "hold").err == ""


@pytest.mark.parametrize("steps", [ended("failed", "ApplicationExit", exit_code=3), ended("succeeded", "Completed")])
def test_run_with_json_prints_the_object_whatever_the_end(
    kjr_on: Kjr, stub: Stub, steps: list[dict[str, object]]
) -> None:
    stub.scenarios["it"] = steps
    result = kjr_on("run", "-o", "json", "it")
    assert result.json["state"] == steps[-1]["state"]
    assert LOG.decode() in result.err


def test_the_same_key_makes_one_job(kjr_on: Kjr, stub: Stub) -> None:
    for _ in range(2):
        assert kjr_on("run", "--idempotency-key", "k", "ok").code == 0
    assert len(stub.jobs) == 1
    refused = kjr_on("run", "--idempotency-key", "k", "hold")
    assert refused.code == 125
    assert "the key belongs to another request (request r-1)" in refused.err


def test_a_refused_job_names_the_field(kjr_on: Kjr) -> None:
    result = kjr_on("run", "bad")
    assert "  /image: no" in result.err


def test_a_run_that_loses_the_server_says_where_the_job_is(
    kjr_on: Kjr, stub: Stub, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(invocation, "BUDGET_SECONDS", 0.0)
    monkeypatch.setattr(invocation, "OUTAGE_SECONDS", 0.0)
    stub.close_when_running = True
    result = kjr_on("run", "-o", "json", "hold")
    (job_id,) = stub.jobs
    assert result.code == 125
    assert f"connection lost; job {job_id} may still be running: kjr wait {job_id}" in result.err
    assert result.json["id"] == job_id
    again = kjr_on("run", "--idempotency-key", "the-key", "ok")
    assert again.code == 125
    assert "Is it running?" in again.last_line  # the connection was refused, so nothing was stored


def test_a_submit_whose_answer_is_lost_names_the_key_to_try_again_with(
    kjr: Kjr, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(invocation, "BUDGET_SECONDS", 0.0)
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def lose() -> None:
            connection, _ = listener.accept()
            connection.recv(65_536)
            connection.close()

        thread = threading.Thread(target=lose)
        thread.start()
        server = f"http://127.0.0.1:{listener.getsockname()[1]}"
        result = kjr("--server", server, "--token", "t", "run", "--idempotency-key", "the-key", "ok")
        thread.join(10)
    assert result.code == 125
    assert "to find out, run the same command again with --idempotency-key the-key" in result.err
