"""`kjr` as a process of its own, without a terminal."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from tests.unit.cli.stub import TOKEN, Stub

KJR = [sys.executable, "-m", "kube_job_runner.cli.main"]


def environ(stub: Stub) -> dict[str, str]:
    """Return the environment of a process that talks to the stub."""
    return {**os.environ, "KJR_SERVER": stub.url, "KJR_TOKEN": TOKEN}


@contextmanager
def process(stub: Stub, *args: str) -> Iterator[subprocess.Popen[bytes]]:
    """Run `kjr` without a terminal."""
    running = subprocess.Popen(
        [*KJR, *args], env=environ(stub), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    with running:
        try:
            yield running
        finally:
            if running.poll() is None:
                running.kill()


def wait_for(condition: Callable[[], bool], timeout_seconds: float = 15.0) -> None:
    """Poll until a condition of the stub holds."""
    deadline = time.monotonic() + timeout_seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)
