"""The command line against a real `kjr up` with local jobs: exit codes, forms, references, logs, interrupts."""

from __future__ import annotations

import json
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from kube_job_runner.client import Client, Unauthorized
from tests.integration.cli.conftest import KJR, Server, wait_for
from tests.support.terminal import CTRL_C, on_terminal


@contextmanager
def started(server: Server, *args: str) -> Iterator[subprocess.Popen[str]]:
    """Run a command in the background; it is killed at the end if it still runs."""
    with server.start(*args) as running:
        try:
            yield running
        finally:
            if running.poll() is None:
                running.kill()


@pytest.mark.parametrize(
    ("flags", "command", "code", "reason"),
    [
        ([], ["sh", "-c", "exit 0"], 0, ""),
        ([], ["sh", "-c", "exit 3"], 3, "ApplicationExit"),
        ([], ["sh", "-c", "exit 255"], 255, "ApplicationExit"),
        ([], ["sh", "-c", "kill -9 $$"], 137, "KilledBySignal"),
        (["--timeout", "1s"], ["sleep", "60"], 124, "RunTimeout"),
        ([], ["/does/not/exist"], 127, "CommandNotFound"),
        ([], ["/etc/passwd"], 126, "CommandNotExecutable"),
        (["--namespace", "not-allowed"], ["true"], 125, "not allowed here"),
    ],
    ids=lambda value: value if isinstance(value, str) else None,
)
def test_run_returns_the_code_of_the_record(
    server: Server, flags: list[str], command: list[str], code: int, reason: str
) -> None:
    result = server("run", *flags, "busybox", "--", *command)
    assert result.code == code, result.err
    assert reason in result.err
    if code not in (0, 125):
        assert result.last_line.startswith("kjr: job ")
        assert f" failed: {reason}: " in result.last_line


def test_a_job_cancelled_elsewhere_returns_143(server: Server) -> None:
    with started(server, "run", "--name", "elsewhere", "busybox", "--", "sleep", "60") as running:
        job_id = server.running("elsewhere")
        cancelled = server("cancel", "--wait", "--reason", "a test", job_id, "-o", "json")
        _, err = running.communicate(timeout=30)
    assert cancelled.json["state"] == "cancelled"
    assert running.returncode == 143
    assert "cancelled: Cancelled" in err.splitlines()[-1]


def test_stdout_is_the_log_untouched(server: Server) -> None:
    done = subprocess.run(
        [*KJR, "run", "busybox", "--", "printf", r"a\rb\000\033[31m\377no newline"],
        env=server.environ,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=60,
    )
    assert done.stdout == b"a\rb\x00\x1b[31m\xffno newline"


def test_json_is_pure_also_on_failure(server: Server) -> None:
    result = server("run", "-o", "json", "busybox", "--", "sh", "-c", "echo to the log; exit 9")
    assert (result.code, result.json["exit_code"], result.json["state"]) == (9, 9, "failed")
    assert "to the log" in result.err
    job_id = result.json["id"]
    assert server("wait", job_id, "-o", "json").json == result.json
    whole = server("get", job_id, "-o", "json").json
    states = [step["to_state"] for step in whole["transitions"]]
    assert (states[0], states[-1]) == ("queued", "failed")
    assert whole["attempts"][0]["exit_code"] == 9


def test_a_job_is_found_by_last_name_and_prefix(server: Server) -> None:
    job_id = server("run", "-d", "--name", "found-by-name", "busybox", "--", "true").out.strip()
    for reference in ("@last", "found-by-name", job_id, job_id[:23]):
        assert server("get", reference, "-o", "id").out.strip() == job_id
    assert server("get", "no-such-name").code == 3


def test_one_key_is_one_job(server: Server) -> None:
    args = ("run", "-d", "--idempotency-key", "the-key", "busybox", "--")
    first, second, other = server(*args, "true"), server(*args, "true"), server(*args, "false")
    assert first.out == second.out != ""
    assert other.code == 125
    assert "idempotency" in other.err.lower()


def test_following_begins_before_the_start_and_ends_with_the_job(server: Server, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    job_id = server.submit(f"echo one; while [ ! -e {gate} ]; do sleep 0.05; done; echo two; exit 4")
    with started(server, "logs", "-f", "--exit-code", job_id) as running:
        assert running.stdout is not None
        assert running.stdout.readline() == "one\n"
        gate.touch()
        out, err = running.communicate(timeout=30)
    assert (running.returncode, out) == (4, "two\n"), err
    assert server("logs", job_id).out == "one\ntwo\n"
    assert server("logs", "--tail", "1", job_id).out == "two\n"
    assert server("logs", "--attempt", "7", job_id).code == 3


def test_following_goes_through_the_retries(server: Server, tmp_path: Path) -> None:
    spec = {
        "image": "busybox",
        "command": ["sh", "-c", "echo again; exit 1"],
        "retry": {"attempts": 2, "backoff_seconds": 0},
    }
    result = server("submit", "-f", "-", stdin=json.dumps(spec))
    job_id = result.out.strip()
    followed = server("logs", "-f", job_id)
    assert followed.code == 0
    assert followed.out.count("again") in (1, 2)  # the first attempt may be over before the log is opened
    assert server("wait", job_id).code == 1
    assert server.job(job_id).attempt == 2


def test_a_log_that_never_was_is_an_error(server: Server) -> None:
    result = server("run", "busybox", "--", "/does/not/exist")
    job_id = server("get", "@last", "-o", "id").out.strip()
    assert result.out == ""
    assert server("logs", job_id).code == 3
    assert "never started" in server("logs", job_id).err


def test_wait_waits_and_gives_up_in_time(server: Server) -> None:
    job_id = server.submit("sleep 60")
    result = server("wait", "--wait-timeout", "0.5s", job_id)
    assert result.code == 75
    assert server("cancel", job_id).code == 0
    assert server("wait", job_id).code == 143
    quick = server.submit("exit 6")
    assert server("wait", "--any", quick, job_id).code in (6, 143)
    assert server("wait", quick, job_id).code == 1


def test_a_file_of_jobs_is_submitted_and_waited_for(server: Server, tmp_path: Path) -> None:
    (tmp_path / "jobs.yaml").write_text(
        "name: first\nimage: busybox\ncommand: ['true']\ntimeouts: {run_seconds: 1m}\n---\n"
        "name: second\nimage: busybox\ncommand: ['false']\nlabels: {batch: b1}\n"
    )
    result = server("submit", "-f", str(tmp_path / "jobs.yaml"), "--set", "queue=files", "--wait", "-o", "json")
    assert result.code == 1
    assert [(job["name"], job["state"], job["queue"]) for job in result.json] == [
        ("first", "succeeded", "files"),
        ("second", "failed", "files"),
    ]
    listed = server("list", "--queue", "files", "--state", "failed", "-l", "batch in (b1, b2)", "-o", "name")
    assert listed.out.split() == ["second"]


def test_every_fault_of_a_spec_is_told_at_once(server: Server) -> None:
    spec = '{"image": "UPPER case", "name": "Not_A_Label", "timeouts": {"run_seconds": 0}}'
    result = server("submit", "-f", "-", stdin=spec)
    assert result.code == 1
    for pointer in ("/name", "/timeouts/run_seconds"):
        assert f"  {pointer}: " in result.err


def test_a_field_that_nobody_knows_is_warned_of_or_refused(server: Server) -> None:
    for spec in ('{"image": "busybox", "comand": ["true"]}', '[{"image": "a", "comand": []}, {"image": "a"}]'):
        warned = server("submit", "-f", "-", stdin=spec)
        assert warned.code == 0
        assert "comand is not a known field; it was ignored" in warned.err
    refused = server("submit", "--strict", "-f", "-", stdin='{"image": "busybox", "comand": ["true"]}')
    assert refused.code == 1
    assert "/comand: " in refused.err


def test_a_selector_cancels_what_is_live(server: Server) -> None:
    ids = [server.submit("sleep 60", labels={"team": "doomed"}) for _ in range(2)]
    assert server("cancel", "-l", "team=doomed").code == 2
    assert server("cancel", "-l", "team=doomed", "-y", "--wait").code == 0
    assert {server.job(job_id).state for job_id in ids} == {"cancelled"}
    ended = server("cancel", ids[0])
    assert ended.code == 0


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_stopped_pipeline_leaves_no_job(server: Server, number: signal.Signals, code: int) -> None:
    name = f"piped-{number.name.lower()}"
    with started(server, "run", "--name", name, "busybox", "sleep", "60") as running:
        job_id = server.running(name)
        running.send_signal(number)
        running.communicate(timeout=30)
    assert running.returncode == code
    with server.client() as client:
        ended = client.wait(job_id, timeout=30, check=False)
    assert ended.state == "cancelled"
    assert number.name in (ended.cancel or {})["reason"]


def test_on_a_terminal_ctrl_c_detaches_and_the_job_goes_on(server: Server, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    script = f"echo begun; while [ ! -e {gate} ]; do sleep 0.05; done"
    with on_terminal([*KJR, "run", "--name", "detached", "busybox", "sh", "-c", script], server.environ) as terminal:
        terminal.expect("Ctrl-C detaches, twice cancels")
        terminal.expect("begun")
        terminal.press(CTRL_C)
        assert terminal.finish() == 130
    gate.touch()
    assert server("wait", "detached").code == 0


def test_on_a_terminal_ctrl_c_twice_cancels(server: Server) -> None:
    with on_terminal([*KJR, "run", "--name", "twice", "busybox", "--", "sleep", "60"], server.environ) as terminal:
        terminal.expect("running")
        terminal.press(CTRL_C)
        terminal.expect("Ctrl-C again cancels")
        terminal.press(CTRL_C)
        assert terminal.finish() == 130
    assert server("wait", "twice").code == 143


def test_a_wrong_token_is_told(server: Server) -> None:
    result = server("list", "--token", "kjr_wrong")
    assert result.code == 4
    assert "token" in result.err


def test_a_new_token_works_and_a_revoked_one_ends(server: Server) -> None:
    token = server("token", "create", "ci").out.strip()
    assert token.startswith("kjr_")
    assert server("list", "--token", token).code == 0
    assert "ci" in server("token", "list").out
    assert token not in server("token", "list", "-o", "json").out
    assert server("token", "revoke", "ci").code == 0
    with server.client(token) as client:
        wait_for(lambda: refused(client))  # the server remembers for some seconds that a token was good
    assert server("list", "--token", token).code == 4


def refused(client: Client) -> bool:
    try:
        list(client.list(limit=1))
    except Unauthorized:
        return True
    return False


def test_the_banner_names_address_and_first_command_and_no_secret(server: Server) -> None:
    banner = server.log.read_text()
    token = server.data.joinpath("connection.json").read_text().partition('"token":"')[2].partition('"')[0]
    assert "kjr run " in banner
    assert len(token) > 20
    assert token not in banner
    assert server.data.joinpath("connection.json").stat().st_mode & 0o077 == 0


def test_a_second_server_on_the_same_data_is_refused(server: Server) -> None:
    result = server("up", "--port", "0")
    assert result.code == 2
    assert "Traceback" not in result.err


def test_versions_fit(server: Server) -> None:
    answer = server("version", "-o", "json").json
    assert answer["client"] == answer["server"]["version"]
