"""One real `kjr up` on a free port for each module, and `kjr` as a process that talks to it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from kube_job_runner.client import Client, Job, connection

KJR = [sys.executable, "-m", "kube_job_runner.cli.main"]
START_SECONDS = 60.0


class Result(NamedTuple):
    """What a command did."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """Its stdout, which must be one JSON value."""
        return json.loads(self.out)

    @property
    def last_line(self) -> str:
        """The last line of stderr."""
        return self.err.rstrip("\n").rpartition("\n")[2]


class Server:
    """A running `kjr up`."""

    def __init__(self, folder: Path) -> None:
        self.data = folder / "data"
        clean = {
            key: value for key, value in os.environ.items() if not key.startswith("KJR_") or key == "KJR_CACHE_DIR"
        }
        self.environ = {**clean, "KJR_DATA_DIR": str(self.data)}
        self.log = folder / "server.log"
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [*KJR, "up", "--cluster", "local", "--port", "0", "--data", str(self.data)],
                env=clean,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        try:
            wait_for(self._up, START_SECONDS)
        except BaseException:
            self.stop()
            raise

    def _up(self) -> bool:
        assert self.process.poll() is None, self.log.read_text()
        return "kube-job-runner is up at " in self.log.read_text()

    def stop(self) -> int:
        """Stop it as an operator would and return its exit code."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        try:
            return self.process.wait(40)
        finally:
            if self.process.poll() is None:
                self.process.kill()
                self.process.wait()

    def start(self, *args: str) -> subprocess.Popen[str]:
        """Start a command; the caller ends it."""
        return subprocess.Popen(
            [*KJR, *args],
            env=self.environ,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def __call__(self, *args: str, stdin: str = "") -> Result:
        """Run a command to its end."""
        done = subprocess.run([*KJR, *args], env=self.environ, input=stdin, capture_output=True, text=True, timeout=60)
        return Result(done.returncode, done.stdout, done.stderr)

    def client(self, token: str | None = None) -> Client:
        """Return an SDK client, with the token of `kjr up` or another: quicker than a process where a test only looks."""
        found = connection.read_file(self.data / connection.FILE_NAME)
        assert found is not None
        return Client(found.url, token or found.token)

    def submit(self, script: str, **fields: Any) -> str:
        """Submit a shell script and return the job's id."""
        with self.client() as client:
            return client.submit(image="busybox", command=["sh", "-c", script], **fields).id

    def job(self, job_id: str) -> Job:
        """Return a job's record."""
        with self.client() as client:
            return client.get(job_id)

    def running(self, name: str) -> str:
        """Wait until the job of that name runs; return its id."""
        with self.client() as client:
            wait_for(lambda: any(client.list(name=name, state="running")))
            return next(client.list(name=name)).id


def wait_for(condition: Callable[[], bool], timeout_seconds: float = 30.0) -> None:
    """Poll until a condition holds, or fail."""
    deadline = time.monotonic() + timeout_seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not come about in time"
        time.sleep(0.05)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Return a running server."""
    running = Server(tmp_path_factory.mktemp("kjr"))
    try:
        yield running
    finally:
        code = running.stop()
    assert code == 0, running.log.read_text()
