"""Child processes with an identity: they can be found again and ended reliably.

A pid alone is not an identity: after a crash or a reboot it may belong to another process. So a process is identified by
pid and start time. A zombie counts as gone, because there may be nothing to reap it.
"""

import os
import queue
import random
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

_Started: TypeAlias = "subprocess.Popen[bytes]"
_Request: TypeAlias = "tuple[Callable[[], _Started], queue.SimpleQueue[_Started | BaseException]]"
_POLL_SECONDS = 0.02
_FIRST_PORT, _LAST_PORT = 20_000, 32_000  # below the range from which Linux picks ports for outgoing connections


@dataclass(frozen=True)
class ProcessId:
    """Which process is meant. `start_ticks` counts from the boot named by `boot_id`."""

    pid: int
    start_ticks: int
    boot_id: str

    @classmethod
    def of(cls, pid: int) -> "ProcessId":
        """Raises ProcessLookupError when there is no such process."""
        fields = _stat_fields(pid)
        if fields is None:
            raise ProcessLookupError(pid)
        return cls(pid, int(fields[19]), boot_id())

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> "ProcessId":
        return cls(int(data["pid"]), int(data["start_ticks"]), str(data["boot_id"]))

    def is_alive(self) -> bool:
        fields = _stat_fields(self.pid)
        if fields is None or fields[0] in "ZX":
            return False
        return int(fields[19]) == self.start_ticks and boot_id() == self.boot_id

    def send(self, signal_number: int) -> bool:
        """Signals this process; False when it is gone, even if another process has its pid now."""
        if not self.is_alive():
            return False
        try:
            os.kill(self.pid, signal_number)
        except ProcessLookupError:
            return False
        return True


@dataclass(frozen=True)
class Usage:
    """What a process has used so far."""

    cpu_seconds: float
    rss_megabytes: float


def boot_id() -> str:
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()


def usage(pid: int) -> Usage | None:
    """None when the process is gone."""
    fields = _stat_fields(pid)
    if fields is None or fields[0] in "ZX":
        return None
    ticks = int(fields[11]) + int(fields[12])
    rss_bytes = int(fields[21]) * os.sysconf("SC_PAGE_SIZE")
    return Usage(ticks / os.sysconf("SC_CLK_TCK"), rss_bytes / 1e6)


def stop_all(processes: Iterable[ProcessId], *, grace_seconds: float) -> None:
    """SIGTERM, then SIGKILL to what is left after the grace; without a grace, SIGKILL at once.

    SIGKILL also ends a process that a test has stopped with SIGSTOP.
    """
    remaining = list(processes)
    if grace_seconds > 0:
        for process in remaining:
            process.send(signal.SIGTERM)
        remaining = _wait_gone(remaining, grace_seconds)
    for process in remaining:
        process.send(signal.SIGKILL)
    survivors = _wait_gone(remaining, 10)
    if survivors:
        raise RuntimeError(f"processes outlived SIGKILL: {[process.pid for process in survivors]}")


def free_ports(names: Sequence[str]) -> dict[str, int]:
    """One free loopback port per name, no two alike.

    They are not reserved: a caller must handle a start that fails because a port was taken meanwhile.
    """
    ports: dict[str, int] = {}
    sockets: list[socket.socket] = []
    try:
        for name in names:
            ports[name], held = _hold_free_port()
            sockets.append(held)
    finally:
        for held in sockets:
            held.close()
    return ports


def spawn(argv: Sequence[str], *, log: Path, cwd: Path, leash: Path | None) -> _Started:
    """Starts a program in a session of its own, so that Ctrl-C in a terminal reaches only us.

    With `leash` (the helper program) the kernel kills it when this Python process dies, however that happens.
    """
    if leash is not None:
        argv = [str(leash), "leash", str(os.getpid()), *argv]

    def start() -> _Started:
        with log.open("ab") as output:
            return subprocess.Popen(
                argv, stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True, cwd=cwd
            )

    child = _spawner.run(start)
    if leash is None:
        _detached.append(child)
    return child


class _Spawner:
    """One thread that starts all leashed children.

    Linux sends the parent-death signal when the *thread* that started the child ends, so a caller on a short-lived
    thread would lose its cluster with it. This thread lives exactly as long as the process.
    """

    def __init__(self) -> None:
        self._requests: queue.SimpleQueue[_Request] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._owner_pid = 0

    def run(self, start: Callable[[], _Started]) -> _Started:
        with self._lock:
            if self._owner_pid != os.getpid():  # the first use, also after a fork: threads do not survive one
                threading.Thread(target=self._serve, name="testbed-spawner", daemon=True).start()
                self._owner_pid = os.getpid()
        answer: queue.SimpleQueue[_Started | BaseException] = queue.SimpleQueue()
        self._requests.put((start, answer))
        result = answer.get()
        if isinstance(result, BaseException):
            raise result
        return result

    def _serve(self) -> None:
        while True:
            start, answer = self._requests.get()
            try:
                answer.put(start())
            except BaseException as error:  # noqa: BLE001 - raised again on the caller's thread
                answer.put(error)


_spawner = _Spawner()
_detached: list[_Started] = []  # a Popen that is dropped while its child runs warns about it; these are meant to run on


def _hold_free_port() -> tuple[int, socket.socket]:
    for _ in range(200):
        port = random.randint(_FIRST_PORT, _LAST_PORT)
        candidate = socket.socket()
        try:
            candidate.bind(("127.0.0.1", port))
        except OSError:
            candidate.close()
        else:
            return port, candidate
    raise RuntimeError(f"found no free port between {_FIRST_PORT} and {_LAST_PORT}")


def _stat_fields(pid: int) -> list[str] | None:
    """The fields of /proc/PID/stat from the state on (proc(5) counts it as the third)."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return None
    return text.rsplit(")", 1)[1].split()  # the name before it may hold spaces and brackets


def _wait_gone(processes: Iterable[ProcessId], limit_seconds: float) -> list[ProcessId]:
    deadline = time.monotonic() + limit_seconds
    remaining = [process for process in processes if process.is_alive()]
    while remaining and time.monotonic() < deadline:
        time.sleep(_POLL_SECONDS)
        remaining = [process for process in remaining if process.is_alive()]
    return remaining
