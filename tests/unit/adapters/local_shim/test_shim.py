"""The shim without what only Linux has: it must keep its promises about process groups anywhere."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.clusters import poll
from tests.unit.adapters.local.test_stopping import pid_in, runs

PORTABLE = (
    "from kube_job_runner.adapters.local_shim import process_tree, shim;"
    " process_tree.LINUX = False; process_tree._libc = None; shim.main()"
)


class Portable:
    """A running shim that believes not to be on Linux."""

    def __init__(self) -> None:
        self.channel, theirs = socket.socketpair()
        with theirs:
            self.process = subprocess.Popen([sys.executable, "-c", PORTABLE], stdin=theirs.fileno())
        self.channel.settimeout(30)
        self._lines = self.channel.makefile("rb")

    def start(self, script: str, *, folder: Path) -> None:
        order = {
            "do": "start",
            "id": "job",
            "argv": ["/bin/sh", "-c", script],
            "env": {"PATH": "/usr/bin:/bin"},
            "cwd": str(folder),
            "log": str(folder / "log"),
        }
        self.send(order)

    def send(self, order: dict[str, Any]) -> None:
        self.channel.sendall(json.dumps(order).encode() + b"\n")

    def hear(self) -> dict[str, Any]:
        heard: dict[str, Any] = json.loads(self._lines.readline())
        return heard

    def hang_up(self) -> None:
        self._lines.close()
        self.channel.close()


@pytest.fixture
def portable() -> Iterator[Portable]:
    made = Portable()
    yield made
    made.hang_up()
    assert made.process.wait(30) == 0


@pytest.mark.asyncio
async def test_the_group_of_a_job_dies_with_its_first_process(portable: Portable, tmp_path: Path) -> None:
    portable.start("sleep 300 & echo $! > pid; exit 3", folder=tmp_path)
    assert portable.hear() == {"id": "job", "event": "started"}
    assert portable.hear() == {"id": "job", "event": "ended", "code": 3, "signal": 0}
    pid = await pid_in(tmp_path / "pid")
    await poll(lambda: not runs(pid), what="the child to be killed")


@pytest.mark.asyncio
async def test_every_group_dies_when_the_runner_hangs_up(portable: Portable, tmp_path: Path) -> None:
    portable.start("sleep 300 & echo $! > pid; wait", folder=tmp_path)
    pid = await pid_in(tmp_path / "pid")
    portable.hang_up()
    assert portable.process.wait(30) == 0
    await poll(lambda: not runs(pid), what="the child to be killed")


def test_a_signal_for_a_job_that_has_ended_is_ignored(portable: Portable, tmp_path: Path) -> None:
    portable.send({"do": "signal", "id": "never-started", "signal": 9})
    portable.start("kill -9 $$", folder=tmp_path)
    assert portable.hear()["event"] == "started"
    assert portable.hear() == {"id": "job", "event": "ended", "code": 137, "signal": 9}
    portable.send({"do": "signal", "id": "job", "signal": 9})
    portable.start("exit 0", folder=tmp_path)
    assert portable.hear()["event"] == "started"
    assert portable.hear()["code"] == 0
