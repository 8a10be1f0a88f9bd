"""Processes are identified by more than a number, are ended reliably, and do not outlive a leashed start."""

import dataclasses
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from testbed import build, processes
from testbed.processes import ProcessId
from tests.testbed.children import python

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the test bed needs Linux")


@pytest.fixture
def sleeper() -> "Iterator[subprocess.Popen[bytes]]":
    with subprocess.Popen(["sleep", "1000"]) as child:
        yield child
        child.kill()


def until_gone(process: ProcessId, limit_seconds: float = 10) -> bool:
    deadline = time.monotonic() + limit_seconds
    while process.is_alive() and time.monotonic() < deadline:
        time.sleep(0.01)
    return not process.is_alive()


def test_identity_survives_json(sleeper: "subprocess.Popen[bytes]") -> None:
    process = ProcessId.of(sleeper.pid)
    assert ProcessId.from_json(dataclasses.asdict(process)) == process
    assert process.is_alive()


@pytest.mark.parametrize("change", [{"start_ticks": 1}, {"boot_id": "another boot"}])
def test_a_recycled_pid_is_never_signalled(sleeper: "subprocess.Popen[bytes]", change: dict[str, int | str]) -> None:
    stranger = dataclasses.replace(ProcessId.of(sleeper.pid), **change)  # type: ignore[arg-type]
    assert not stranger.is_alive()
    assert not stranger.send(signal.SIGKILL)
    processes.stop_all([stranger], grace_seconds=0)
    assert sleeper.poll() is None


def test_a_zombie_counts_as_gone(sleeper: "subprocess.Popen[bytes]") -> None:
    process = ProcessId.of(sleeper.pid)
    os.kill(sleeper.pid, signal.SIGKILL)
    assert until_gone(process)
    assert Path(f"/proc/{sleeper.pid}").exists(), "nobody has reaped it yet"
    assert processes.usage(sleeper.pid) is None


def test_no_such_process() -> None:
    child = subprocess.Popen(["true"])
    child.wait()
    with pytest.raises(ProcessLookupError):
        ProcessId.of(child.pid)


def test_a_stopped_process_is_ended(sleeper: "subprocess.Popen[bytes]") -> None:
    process = ProcessId.of(sleeper.pid)
    process.send(signal.SIGSTOP)
    processes.stop_all([process], grace_seconds=0.1)
    assert not process.is_alive()


def test_a_name_with_brackets_and_spaces_is_read_right(tmp_path: Path) -> None:
    program = tmp_path / "a) Z (b"
    program.symlink_to("/bin/sleep")
    with subprocess.Popen([str(program), "1000"]) as child:
        assert ProcessId.of(child.pid).is_alive()
        child.kill()


def test_ports_differ_and_are_free() -> None:
    ports = processes.free_ports([str(number) for number in range(20)])
    assert len(set(ports.values())) == 20
    for port in ports.values():
        with socket.create_server(("127.0.0.1", port)):
            pass


def test_spawn_reports_a_missing_program(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        processes.spawn(["/no/such/program"], log=tmp_path / "log", cwd=tmp_path, leash=None)


@pytest.mark.cluster
class TestLeash:
    def test_a_short_lived_thread_does_not_take_its_child_along(self, kube_programs: None, tmp_path: Path) -> None:
        children: list[subprocess.Popen[bytes]] = []
        leash = build.ensure_built() / "helper"

        def start() -> None:
            children.append(processes.spawn(["sleep", "1000"], log=tmp_path / "log", cwd=tmp_path, leash=leash))

        thread = threading.Thread(target=start)
        thread.start()
        thread.join()
        time.sleep(0.2)
        with children[0] as child:
            assert child.poll() is None
            child.kill()

    def test_the_child_dies_with_its_killed_parent(self, kube_programs: None, tmp_path: Path) -> None:
        code = (
            "import sys, time; from pathlib import Path; from testbed import build, processes\n"
            f"folder = Path({str(tmp_path)!r})\n"
            "leash = build.ensure_built() / 'helper'\n"
            "child = processes.spawn(['sleep', '1000'], log=folder / 'log', cwd=folder, leash=leash)\n"
            "print(child.pid, flush=True); time.sleep(1000)\n"
        )
        with python(code) as parent:
            child = ProcessId.of(int(parent.readline()))
            assert child.is_alive()
        assert until_gone(child)
