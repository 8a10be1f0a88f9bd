"""The parent of all local processes: a small program of its own, so that no job outlives the runner.

It does for local jobs what the shim of a container runtime does on a node: it starts processes, passes signals to their
groups, reaps them, and kills everything that a job leaves behind. It runs as a plain script, with the standard library
only, and imports nothing of ours. As a separate process it can fork safely, even if the runner has threads, and needs no
child watcher of an event loop. Its socket (standard input) closes when the runner dies, also by `kill -9`, and then it
kills everything. On Linux it is a subreaper and gives its children PR_SET_PDEATHSIG, so its own death kills the jobs too.

Both directions use JSON lines. To the shim: {"do": "start", "id", "argv", "env", "cwd", "log"} and
{"do": "signal", "id", "signal"}. From it: {"id", "event": "started" | "refused" (with "error") | "ended" (with "code",
"signal")}.
"""

import contextlib
import ctypes
import errno
import json
import os
import select
import signal
import socket
import sys
import time
from collections.abc import Iterator
from typing import Any

COOKIE = "KUBE_JOB_RUNNER_LOCAL_JOB"  # marks every process of a job, to find those that left the process group
_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36
_LINUX = sys.platform == "linux"
_SWEEPS_MAX = 20
_KILL_SECONDS = 0.5
_CWD_TEXTS = {
    errno.ENOENT: "the folder does not exist",
    errno.ENOTDIR: "it is not a folder",
    errno.EACCES: "the folder may not be entered",
}
_libc = ctypes.CDLL(None, use_errno=True) if _LINUX else None


def explain(error: OSError, *, program: str, cwd: str, stage: str) -> str:
    """Return the text of a container runtime for a process that cannot be started (as runc and Go's exec word it)."""
    text = os.strerror(error.errno or 0).lower()
    if stage == "chdir":  # worded so that no rule takes it for a missing command
        return f'chdir to cwd ("{cwd}") failed: {_CWD_TEXTS.get(error.errno or 0, text)}'
    if stage == "log":
        return f"cannot open the log file: {text}"
    if error.errno == errno.ENOENT and "/" not in program:
        return f'exec: "{program}": executable file not found in $PATH'
    if error.errno == errno.ENOENT:
        return f'exec: "{program}": stat {program}: no such file or directory'
    return f'exec: "{program}": {text}'


def _become(order: dict[str, Any], report: int) -> None:
    """Replace this new process with the job's program, or write to `report` why that failed."""
    stage = "setup"
    try:
        os.setsid()
        if _libc is not None:
            _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        stage = "log"
        log = os.open(order["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        null = os.open(os.devnull, os.O_RDONLY)
        os.dup2(null, 0)
        os.dup2(log, 1)
        os.dup2(log, 2)
        stage = "chdir"
        os.chdir(order["cwd"])
        for number in (signal.SIGPIPE, signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGXFSZ):
            signal.signal(number, signal.SIG_DFL)
        stage = "exec"
        os.execvpe(order["argv"][0], order["argv"], {**order["env"], COOKIE: order["id"]})  # noqa: S606 - no shell is the point
    except OSError as error:
        text = explain(error, program=order["argv"][0], cwd=order["cwd"], stage=stage)
        os.write(report, text.encode("utf-8", "surrogateescape")[:4000])
    finally:
        os._exit(128)


def start(order: dict[str, Any]) -> tuple[int, str]:
    """Start a job's process; return its pid, and the error ("" if it runs)."""
    receive, report = os.pipe()  # the exec closes both ends, so success is an end of file
    try:
        pid = os.fork()
    except OSError as error:
        os.close(receive)
        os.close(report)
        return 0, f"fork: {os.strerror(error.errno or 0).lower()}"
    if pid == 0:
        _become(order, report)
    os.close(report)
    with os.fdopen(receive, "rb") as pipe:
        return pid, pipe.read().decode("utf-8", "replace")


def kill_group(pid: int, number: int) -> None:
    """Send a signal to a job's process group, if it still exists."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, number)


def _parent_of(pid: str) -> int:
    with open(f"/proc/{pid}/stat", "rb") as file:  # noqa: PTH123 - see adopted
        return int(file.read().rpartition(b")")[2].split()[1])


def adopted(known: set[int]) -> Iterator[int]:
    """Yield the processes that became our children because their own parents ended (Linux only)."""
    if not _LINUX:
        return
    me = os.getpid()
    for name in os.listdir("/proc"):  # noqa: PTH208 - importing pathlib would double the start time of the shim
        with contextlib.suppress(OSError, ValueError, IndexError):
            if name.isdigit() and int(name) not in known and _parent_of(name) == me:
                yield int(name)


def _cookie(pid: int) -> str:
    with contextlib.suppress(OSError), open(f"/proc/{pid}/environ", "rb") as file:  # noqa: PTH123 - see adopted
        for item in file.read().split(b"\0"):
            if item.startswith(COOKIE.encode() + b"="):
                return item.partition(b"=")[2].decode("ascii", "replace")
    return ""


def _reap_within(pid: int, *, seconds: float) -> None:
    """Wait for a killed child, but not for ever: a child that hangs in the kernel must not stop all others."""
    end = time.monotonic() + seconds
    with contextlib.suppress(ChildProcessError):
        while os.waitpid(pid, os.WNOHANG) == (0, 0) and time.monotonic() < end:
            time.sleep(0.001)


class Shim:
    """The running jobs by pid and by id, and the loop that serves orders and reaps children."""

    def __init__(self, channel: socket.socket) -> None:
        self._channel = channel
        self._jobs: dict[int, str] = {}
        self._pids: dict[str, int] = {}
        self._buffer = b""

    def run(self) -> None:
        """Serve until the runner closes its end of the socket, then kill everything."""
        wake, wakeup = os.pipe()
        os.set_blocking(wakeup, False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.set_wakeup_fd(wakeup, warn_on_full_buffer=False)
        while True:
            ready, _, _ = select.select([self._channel.fileno(), wake], [], [])
            if wake in ready:
                os.read(wake, 65536)
                self._reap()
            if self._channel.fileno() in ready and not self._serve():
                break
        self._kill_all()

    def _serve(self) -> bool:
        try:
            data = self._channel.recv(1 << 20)
        except OSError:
            return False
        *lines, self._buffer = (self._buffer + data).split(b"\n")
        for line in lines:
            order = json.loads(line)
            if order["do"] == "start":
                self._start(order)
            elif order["id"] in self._pids:
                kill_group(self._pids[order["id"]], order["signal"])
        return bool(data)

    def _start(self, order: dict[str, Any]) -> None:
        pid, error = start(order)
        if error:
            if pid:
                os.waitpid(pid, 0)
            self._tell({"id": order["id"], "event": "refused", "error": error})
            return
        self._jobs[pid] = order["id"]
        self._pids[order["id"]] = pid
        self._tell({"id": order["id"], "event": "started"})

    def _reap(self) -> None:
        ended: list[tuple[str, int]] = []
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                break
            if pid == 0:
                break
            if pid in self._jobs:
                # As in a container, the other processes die with the first. The group's id is in use while any is left.
                kill_group(pid, signal.SIGKILL)
                job = self._jobs.pop(pid)
                del self._pids[job]
                ended.append((job, status))
        if ended:
            self._kill_escaped({job for job, _ in ended})
        for job, status in ended:
            number = os.WTERMSIG(status) if os.WIFSIGNALED(status) else 0
            code = 128 + number if number else os.WEXITSTATUS(status)
            self._tell({"id": job, "event": "ended", "code": code, "signal": number})

    def _kill_escaped(self, jobs: set[str]) -> None:
        """Kill the processes that left their job's group (`setsid`, a daemon), and then the children that they leave."""
        for _ in range(_SWEEPS_MAX):
            found = [pid for pid in adopted(set(self._jobs)) if _cookie(pid) in jobs]
            if not found:
                return
            self._kill_and_reap(found)

    def _kill_and_reap(self, pids: list[int]) -> None:
        for pid in pids:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)
        for pid in pids:
            _reap_within(pid, seconds=_KILL_SECONDS)

    def _kill_all(self) -> None:
        for pid in list(self._jobs):
            kill_group(pid, signal.SIGKILL)
        self._kill_and_reap(list(self._jobs))
        for _ in range(_SWEEPS_MAX):
            found = list(adopted(set()))
            if not found:
                return
            self._kill_and_reap(found)

    def _tell(self, message: dict[str, Any]) -> None:
        with contextlib.suppress(OSError):  # the runner has died, and the loop ends soon
            self._channel.sendall(json.dumps(message).encode() + b"\n")


def main() -> None:
    """Serve the socket that is our standard input."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)  # the runner closes the socket when it stops, after its own drain
    if _libc is not None:
        _libc.prctl(_PR_SET_CHILD_SUBREAPER, 1)
    channel = socket.socket(fileno=os.dup(0))
    null = os.open(os.devnull, os.O_RDWR)
    os.dup2(null, 0)
    os.dup2(null, 1)
    Shim(channel).run()


if __name__ == "__main__":
    main()
