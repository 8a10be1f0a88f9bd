"""What each command asks of the server and prints: data on stdout, everything else on stderr."""

from __future__ import annotations

import json
from pathlib import Path

import click
import pytest
import yaml

from kube_job_runner.cli import invocation, main
from tests.unit.cli.conftest import Kjr
from tests.unit.cli.stub import LOG, Stub, ended

# --- run ---


def test_run_prints_the_log_and_nothing_else_on_stdout(kjr_on: Kjr, stub: Stub) -> None:
    result = kjr_on("run", "ok", "--", "echo", "-n", "hi")
    assert (result.code, result.out) == (0, LOG)
    (spec,) = stub.specs.values()
    assert spec["command"] == ["echo", "-n", "hi"]
    assert "succeeded in 14s" in result.last_line
    states = [line.split()[3] for line in result.err.splitlines() if " after " in line or line.endswith("queued")]
    assert states == ["queued", "starting", "running", "succeeded"]


def test_run_passes_every_flag_on(kjr_on: Kjr, stub: Stub, tmp_path: Path) -> None:
    env_file = tmp_path / "env"
    env_file.write_text("# comment\n\nFROM_FILE=a=b\nBOTH=file\n")
    result = kjr_on(
        "run", "ok", "-d", "-e", "A=1", "-e", "BOTH=flag", "--env-file", str(env_file), "--secret", "TOK=s:k", "--secret",
        "PLAIN=other", "--cpu", "500m", "--memory", "1Gi", "--gpu", "2", "-q", "etl", "--name", "n", "-l", "team=x",
        "--timeout", "1h30m", "--start-timeout", "90", "--queue-timeout", "2d", "--retries", "3", "--priority", "-5",
        "--namespace", "ns", "--service-account", "sa", "--workdir", "/w", "--keep-entrypoint", "--", "x",
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
        (["echo", "-n", "x"], "Put -- before CMD"),
    ],
)
def test_run_says_how_a_flag_is_written(kjr: Kjr, args: list[str], message: str) -> None:
    result = kjr("run", "img", *args)
    assert result.code == 125
    assert message in result.err
    assert result.out == b""


def test_a_dry_run_submits_nothing(kjr_on: Kjr, stub: Stub) -> None:
    result = kjr_on("run", "ok", "--dry-run", "-o", "json", "--", "x")
    assert result.json == {"image": "ok", "command": ["x"]}
    assert yaml.safe_load(kjr_on("run", "ok", "--dry-run").text) == {"image": "ok"}
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
    result = kjr_on("run", "it", "-o", "json")
    assert result.json["state"] == steps[-1]["state"]
    assert LOG.decode() in result.err


def test_the_same_key_makes_one_job(kjr_on: Kjr, stub: Stub) -> None:
    for _ in range(2):
        assert kjr_on("run", "ok", "--idempotency-key", "k").code == 0
    assert len(stub.jobs) == 1
    refused = kjr_on("run", "hold", "--idempotency-key", "k")
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
    result = kjr_on("run", "hold", "-o", "json")
    (job_id,) = stub.jobs
    assert result.code == 125
    assert f"lost sight of job {job_id}; it may go on: kjr wait {job_id}" in result.err
    assert result.json["id"] == job_id
    again = kjr_on("run", "ok", "--idempotency-key", "the-key")
    assert again.code == 125
    assert "to find out, run the same again with --idempotency-key the-key" in again.err


# --- submit ---


def test_submit_takes_documents_lists_and_sets(kjr_on: Kjr, stub: Stub, tmp_path: Path) -> None:
    many = tmp_path / "many.yaml"
    many.write_text("image: ok\ntimeouts: {run_seconds: 10m}\n---\n- image: hold\n- image: queue\n  env: {A: b}\n")
    single = tmp_path / "one.json"
    single.write_text('{"apiVersion": "kube-job-runner.io/v1", "kind": "Job", "image": "ok"}')
    result = kjr_on(
        "submit",
        "-f",
        str(many),
        "-f",
        str(single),
        "--set",
        "resources.cpu=2",
        "--set",
        "env.x.y=1",
        "--set",
        "args[0]=a",
    )
    assert result.code == 0, result.err
    assert result.text.split() == [*stub.jobs]
    assert [spec["image"] for spec in stub.specs.values()] == ["ok", "hold", "queue", "ok"]
    first, _, third, _ = stub.specs.values()
    assert first["timeouts"] == {"run_seconds": 600}
    assert first["resources"] == {"cpu": 2}
    assert first["args"] == ["a"]
    assert third["env"] == {"A": "b", "x.y": "1"}
    assert ("POST", "/v1/jobs:batch") in stub.requests


def test_refused_documents_do_not_hide_the_others(kjr_on: Kjr, stub: Stub, tmp_path: Path) -> None:
    (tmp_path / "f").write_text("[{image: ok}, {image: bad}, {image: ok}]")
    result = kjr_on("submit", "-f", str(tmp_path / "f"))
    assert result.code == 1
    assert result.text.split() == [*stub.jobs]
    assert "job 2 was refused: bad image" in result.err
    assert "2 jobs submitted, 1 refused" in result.last_line


def test_submit_waits_for_several(kjr_on: Kjr, stub: Stub, tmp_path: Path) -> None:
    (tmp_path / "f").write_text("[{image: ok}, {image: never-started}]")
    result = kjr_on("submit", "-f", str(tmp_path / "f"), "--wait", "-o", "json")
    assert result.code == 1
    assert [job["state"] for job in result.json] == ["succeeded", "failed"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "no job in it"),
        ("just text", "must be an object"),
        ("image: [", "f"),
        ("image: a\nimage: b\n", "'image' stands twice"),
        ('{"image": "a", "image": "b"}', "'image' stands twice"),
        ("apiVersion: batch/v1\nkind: Job\n", "batch/v1 Job cannot be submitted"),
        ("image: a\ntimeouts: {run_seconds: soon}\n", "run_seconds: 'soon' is not a duration"),
        ("image: !!python/object:os.system a\n", "could not determine a constructor"),
    ],
)
def test_a_file_that_cannot_be_read_says_why(
    kjr_on: Kjr, stub: Stub, tmp_path: Path, content: str, message: str
) -> None:
    (tmp_path / "f").write_text(content)
    result = kjr_on("submit", "-f", str(tmp_path / "f"))
    assert result.code == 2
    assert message in result.err
    assert stub.requests == []


@pytest.mark.parametrize("path", ["args[5]=x", "image.x=1", "..=1", "a[0]b=1", "resources[0]=1"])
def test_a_set_that_leads_nowhere_says_so(kjr: Kjr, tmp_path: Path, path: str) -> None:
    (tmp_path / "f").write_text("image: a\nresources: {cpu: 1}\n")
    result = kjr("submit", "-f", str(tmp_path / "f"), "--dry-run", "--set", path)
    assert (result.code, result.out) == (2, b"")


# --- list, get ---


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
    assert "no such jobs" in result.err
    assert kjr_on("list", "-o", "json").json == []


def test_get_tells_the_story_and_the_next_step(kjr_on: Kjr, stub: Stub) -> None:
    stub.scenarios["it"] = ended("failed", "ApplicationExit", exit_code=3)
    job_id = stub.add("it")
    result = kjr_on("get", job_id)
    for part in (
        "✗ failed",
        "exit code       3",
        "ApplicationExit",
        "About ApplicationExit.",
        "phases",
        "attempts",
        "c-1",
    ):
        assert part in result.text
    assert result.text.splitlines()[-1] == f"next: kjr explain {job_id}"
    whole = kjr_on("get", job_id, "-o", "json").json
    assert (whole["exit_code"], len(whole["transitions"]), len(whole["attempts"])) == (3, 2, 1)
    assert kjr_on("get", job_id, "--spec", "-o", "json").json == {"image": "it", "name": "it"}


def test_get_of_several_is_a_list(kjr_on: Kjr, stub: Stub) -> None:
    ids = [stub.add("ok"), stub.add("hold")]
    assert [job["id"] for job in kjr_on("get", *ids, "-o", "json").json] == ids
    assert kjr_on("get", *ids).text.count("phases") == 2


# --- references ---


def test_a_job_is_found_by_id_prefix_name_and_last(kjr_on: Kjr, stub: Stub) -> None:
    old, new = stub.add("ok", name="same"), stub.add("ok", name="same")
    last = kjr_on("run", "-d", "hold").text.strip()
    for reference, job_id in (
        (old, old),
        (old.upper(), old),
        (old[:20], old),
        ("same", new),
        ("@last", last),
        ("hold", last),
    ):
        assert kjr_on("get", reference, "-o", "id").text.strip() == job_id


def test_a_prefix_of_several_jobs_lists_them(kjr_on: Kjr, stub: Stub) -> None:
    ids = [stub.add("ok", moment=5) for _ in range(2)]
    result = kjr_on("get", ids[0][:13])
    assert result.code == 1
    assert "2 jobs begin with" in result.err
    assert all(job_id in result.err for job_id in ids)


def test_a_name_that_looks_like_an_id_is_still_a_name(kjr_on: Kjr, stub: Stub) -> None:
    ids = [stub.add("ok", name="deadbeef"), stub.add("ok", name="0badc0de-x"), stub.add("ok", name="019abcde")]
    names = ("deadbeef", "0badc0de-x", "019abcde")
    assert [kjr_on("get", name, "-o", "id").text.strip() for name in names] == ids


def test_last_is_per_server_and_may_be_missing(kjr_on: Kjr, stub: Stub) -> None:
    result = kjr_on("get", "@last")
    assert result.code == 3
    assert "no job was submitted" in result.err


def test_a_data_directory_that_cannot_be_written_stops_nothing(
    kjr_on: Kjr, stub: Stub, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("KJR_DATA_DIR", str(tmp_path / "file" / "below"))
    assert kjr_on("run", "ok").code == 0


# --- wait, cancel, logs ---


def test_wait_for_the_first(kjr_on: Kjr, stub: Stub) -> None:
    stub.scenarios["it"] = ended("failed", "ApplicationExit", exit_code=7)
    hold, quick = stub.add("hold"), stub.store({"image": "it"})
    result = kjr_on("wait", "--any", hold, quick, "-o", "json")
    assert (result.code, result.json["id"]) == (7, quick)


def test_wait_for_all_names_each_end(kjr_on: Kjr, stub: Stub) -> None:
    ids = [stub.add("ok"), stub.store({"image": "never-started"})]
    result = kjr_on("wait", *ids, ids[0], "-o", "id")
    assert (result.code, result.text.split()) == (1, ids)
    assert f"kjr: job {ids[1]} failed: ImageNotFound: About ImageNotFound." in result.err


def test_cancel_by_id_gives_the_reason_and_an_ended_job_is_no_error(kjr_on: Kjr, stub: Stub) -> None:
    hold, ok = stub.add("hold"), stub.add("ok")
    result = kjr_on("cancel", hold, ok, "--reason", "because", "--wait")
    assert (result.code, result.text.split()) == (0, [hold, ok])
    assert (hold, "because") in stub.cancels
    assert "has ended already: succeeded" in result.err


def test_cancel_by_label_asks_and_without_a_terminal_refuses(kjr_on: Kjr, stub: Stub) -> None:
    for _ in range(2):
        stub.add("hold", labels={"team": "x"})
    stub.add("ok", labels={"team": "x"})
    stub.add("hold", labels={"team": "y"})
    refused = kjr_on("cancel", "-l", "team=x")
    assert refused.code == 2
    assert "cancel 2 jobs; add -y" in refused.err
    assert stub.cancels == []
    assert kjr_on("cancel", "-l", "team=x", "-y").code == 0
    assert len(stub.cancels) == 2
    assert kjr_on("cancel", "-l", "team=z", "-y").code == 0


@pytest.mark.parametrize("args", [[], ["id", "-l", "a=b"]])
def test_cancel_needs_ids_or_a_selector(kjr: Kjr, args: list[str]) -> None:
    assert kjr("cancel", *args).code == 2


def test_logs_are_passed_on_untouched(kjr_on: Kjr, stub: Stub) -> None:
    stub.logs["ok"] = b"\x1b[31mred\x00\r\nbar\rbaz\xff no newline"
    job_id = stub.add("ok")
    assert kjr_on("logs", job_id).out == stub.logs["ok"]
    assert kjr_on("logs", "-f", job_id).out == stub.logs["ok"]
    assert kjr_on("run", "ok").out == stub.logs["ok"]


def test_logs_of_a_job_without_one_are_an_error(kjr_on: Kjr, stub: Stub) -> None:
    result = kjr_on("logs", stub.add("never-started"))
    assert result.code == 3
    assert "never started" in result.err


# --- the rest ---


def test_version_tells_both(kjr_on: Kjr, stub: Stub) -> None:
    answer = kjr_on("version", "-o", "json").json
    assert answer["server"]["version"] == "0.1.0"
    assert answer["url"] == stub.url
    assert kjr_on("version").text.startswith("client 0.1.0\nserver 0.1.0 at http")


def test_version_works_without_a_server(kjr: Kjr) -> None:
    assert kjr("version").code == 0
    assert kjr("version", "--client", "-o", "json").json == {"client": "0.1.0"}


def test_config_lists_every_setting_with_its_meaning(kjr: Kjr, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KJR_DATABASE_URL", "postgresql://user:secret@db/x")
    entries = {entry["name"]: entry for entry in kjr("config", "-o", "json").json}
    assert all(entry["meaning"] for entry in entries.values())
    assert entries["KJR_PORT"]["default"] == "8080"
    assert entries["KJR_DATABASE_URL"]["value"] == "postgresql://***@db/x"
    assert "secret" not in kjr("config").text


@pytest.mark.parametrize("name", [*main.COMMANDS])
def test_every_command_has_the_help_that_the_table_shows(kjr: Kjr, name: str) -> None:
    command = main.cli.get_command(click.Context(main.cli), name)
    assert command is not None
    assert command.name == name
    assert command.short_help == main.COMMANDS[name].summary
    assert kjr(name, "--help").code == 0


def test_global_options_may_stand_before_the_command(kjr: Kjr, stub: Stub) -> None:
    assert kjr("--server", stub.url, "--token", "kjr_secret", "list").code == 0
