"""What the process hides from others of its user."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

NOBODY = 65534

RUNNER = """
import ctypes, os, sys, time
from kube_job_runner.bootstrap import lifetime
if os.geteuid() == 0:  # root reads everything
    os.setgid(65534)
    os.setuid(65534)
    ctypes.CDLL(None).prctl(4, 1, 0, 0, 0)  # a change of the user hides the process too
if sys.argv[1] == "hidden":
    lifetime.hide_memory()
print("up", flush=True)
time.sleep(60)
"""


@contextmanager
def runner(hidden: str) -> Iterator[subprocess.Popen[bytes]]:
    """Run a process with a secret in its environment, as an unprivileged user."""
    environ = {**os.environ, "RUNNER_SECRET": "must not leak"}
    with subprocess.Popen([sys.executable, "-c", RUNNER, hidden], env=environ, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"up\n"
        try:
            yield process
        finally:
            process.kill()


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux shows an environment in a file")
@pytest.mark.parametrize("hidden", ["hidden", "shown"])
def test_a_process_of_the_same_user_cannot_read_our_environment(hidden: str) -> None:
    with runner(hidden) as process:
        user = NOBODY if os.geteuid() == 0 else None
        command = ["/bin/cat", f"/proc/{process.pid}/environ"]
        looked = subprocess.run(command, capture_output=True, text=True, user=user, group=user)
    assert ("must not leak" in looked.stdout) == (hidden == "shown")
