"""The guard of one local job: the parent of its first process, and on Linux the ancestor of all that come of it."""

import contextlib
import errno
import json
import os
import select
import signal
import socket
from typing import Any

from kube_job_runner.adapters.local_shim import process_tree

COOKIE = "KUBE_JOB_RUNNER_LOCAL_JOB"
"""Names the job to its processes, and to a person who looks at them."""

_CWD_TEXTS = {
    errno.ENOENT: "the folder does not exist",
    errno.ENOTDIR: "it is not a folder",
    errno.EACCES: "the folder may not be entered",
}


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
        stage = "log"
        log = os.open(order["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        null = os.open(os.devnull, os.O_RDONLY)
        os.dup2(null, 0)
        os.dup2(log, 1)
        os.dup2(log, 2)
        stage = "chdir"
        os.chdir(order["cwd"])
        stage = "setup"
        if "user" in order:
            _become_user(*order["user"])
        process_tree.prctl(process_tree.PR_SET_PDEATHSIG, signal.SIGKILL)  # a change of the user would clear it
        for number in (signal.SIGPIPE, signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGXFSZ):
            signal.signal(number, signal.SIG_DFL)
        stage = "exec"
        os.execvpe(order["argv"][0], order["argv"], {**order["env"], COOKIE: order["id"]})  # noqa: S606 - no shell is the point
    except OSError as error:
        text = explain(error, program=order["argv"][0], cwd=order["cwd"], stage=stage)
        os.write(report, text.encode("utf-8", "surrogateescape")[:4000])
    finally:
        os._exit(128)


def _become_user(uid: int, gid: int, groups: list[int]) -> None:
    """Change to another user for good. Log and working directory are open already, wherever they are."""
    os.setgroups(groups)
    os.setgid(gid)
    os.setuid(uid)


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


class Guard:
    """The parent of one job's first process, in a process of its own."""

    def __init__(self, order: dict[str, Any], link: socket.socket) -> None:
        self._order = order
        self._link = link
        self._main = 0

    def run(self) -> None:
        """Start the job, pass signals to it, and report its end once nothing of it is left. If the shim dies, kill it."""
        process_tree.prctl(process_tree.PR_SET_CHILD_SUBREAPER, 1)
        wake = process_tree.woken_by_children()
        self._main, error = start(self._order)
        if error:
            self._tell({"event": "refused", "error": error})
            return
        self._tell({"event": "started", "pid": self._main})
        while True:
            ready, _, _ = select.select([self._link.fileno(), wake], [], [])
            status: int | None = None
            if wake in ready:
                process_tree.empty(wake)
                status = (process_tree.reaped() or {}).get(self._main)
            if status is None and self._link.fileno() in ready:
                status = self._obey()
            if status is not None:
                self._clear()
                number = os.WTERMSIG(status) if os.WIFSIGNALED(status) else 0
                code = 128 + number if number else os.WEXITSTATUS(status)
                self._tell({"event": "ended", "code": code, "signal": number})
                return

    def _obey(self) -> int | None:
        """Send the signals that the shim asks for; return the status of the job if it has ended by them."""
        numbers = process_tree.received(self._link).split() or [b"%d" % signal.SIGKILL]
        for number in map(int, numbers):
            process_tree.kill_group(self._main, number)
            if number == signal.SIGKILL:
                return self._clear().get(self._main, signal.SIGKILL)
        return None

    def _clear(self) -> dict[int, int]:
        """Kill what is left of the job, as a container's other processes die with its first; return what was reaped."""
        if process_tree.LINUX:
            return process_tree.kill_below(spared=set())
        process_tree.kill_group(self._main, signal.SIGKILL)
        with contextlib.suppress(ChildProcessError):
            return dict([os.waitpid(self._main, 0)])
        return {}

    def _tell(self, message: dict[str, Any]) -> None:
        with contextlib.suppress(OSError):
            self._link.sendall(json.dumps(message).encode() + b"\n")
