"""`kjr demo`: starts a temporary server, runs three jobs on it, and shows their results."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from kube_job_runner.cli import error_report, invocation
from kube_job_runner.cli.terminal import output, tables, text

if TYPE_CHECKING:
    from kube_job_runner.client import Job

START_SECONDS = 60.0
JOB_SECONDS = 60.0
STOP_SECONDS = 30.0
_KEPT = frozenset({"KJR_CACHE_DIR"})

JOBS: tuple[tuple[dict[str, Any], str], ...] = (
    ({"name": "hello", "command": ["sh", "-c", "echo hello; sleep 0.3"]}, "succeeded"),
    ({"name": "exits-3", "command": ["sh", "-c", "echo something is wrong; exit 3"]}, "failed"),
    ({"name": "cannot-start", "command": ["/no/such/command"]}, "failed"),
)


@click.command("demo")
def command() -> int:
    """Start a server in a temporary folder, run three jobs as processes of this machine, and show their results.

    One job succeeds, one exits with 3, one cannot start. Then the server stops and the folder is removed.
    """
    current = invocation.current()
    with tempfile.TemporaryDirectory(prefix="kjr-demo-") as folder:
        current.note("kjr: starting a server with its own PostgreSQL ...")
        began = time.monotonic()
        with _server(Path(folder)) as (url, token):
            current.note(f"kjr: up at {url} after {time.monotonic() - began:.1f} s; running three jobs ...")
            current.server, current.token = url, token
            with current.client() as client:
                submitted = [client.submit({"image": "busybox", **spec}) for spec, _ in JOBS]
                jobs = [client.wait(job.id, timeout=JOB_SECONDS, check=False) for job in submitted]
            _show(jobs, current)
    if [job.state for job in jobs] != [expected for _, expected in JOBS]:
        current.say("kjr: the jobs did not end as expected")
        return 1
    current.note(
        "\nTry next:\n  kjr up                          a server that keeps running\n"
        "  kjr run busybox -- echo hello   a job, its log and its exit code\n  kjr list; kjr get @last"
    )
    return 0


def _show(jobs: list[Job], current: invocation.Invocation) -> None:
    columns = tables.columns("NAME", "STATE", "REASON", ">EXIT CODE", ">DURATION")
    rows = []
    for job in jobs:
        code = "-" if job.exit_code is None else job.exit_code
        rows.append(tables.cells(job.name, job.state, job.reason, code, output.run_time(job) or "-"))
    click.echo()
    output.write_table(columns, rows, current, state_column=1)
    for job in jobs:
        if job.explanation and not job.succeeded:
            click.echo(f"\n{text.line(job.name)}: {text.line(job.explanation)}")


@contextlib.contextmanager
def _server(folder: Path) -> Iterator[tuple[str, str | None]]:
    environ = {key: value for key, value in os.environ.items() if not key.startswith("KJR_") or key in _KEPT}
    arguments = ["up", "--cluster", "local", "--port", "0", "--data", str(folder / "data"), "--quiet"]
    log_path = folder / "server.log"
    with log_path.open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "kube_job_runner.cli.main", *arguments],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            env=environ,
            start_new_session=True,
        )
        try:
            yield _await_connection(process, folder / "data", log_path)
        finally:
            _stop(process)


def _await_connection(process: subprocess.Popen[bytes], data: Path, log_path: Path) -> tuple[str, str | None]:
    from kube_job_runner.client import connection

    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        found = connection.read_file(data / connection.FILE_NAME)
        if found is not None:
            return found.url, found.token
        if process.poll() is not None:
            break
        time.sleep(0.05)
    tail = "\n".join(log_path.read_text(errors="replace").splitlines()[-15:])
    raise error_report.CommandFailed(f"the server did not start:\n{tail}")


def _stop(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
