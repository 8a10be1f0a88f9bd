"""Processes below this one: find them, kill them until none is left, reap them.

On Linux a subreaper becomes the parent of every process below it whose own parent ends, so nothing leaves its tree: no
session, process group or environment matters (prctl(2), PR_SET_CHILD_SUBREAPER).
"""

import contextlib
import ctypes
import os
import signal
import socket
import sys
import time

PR_SET_PDEATHSIG = 1
PR_SET_DUMPABLE = 4
PR_SET_CHILD_SUBREAPER = 36
LINUX = sys.platform == "linux"
_FREEZES_MAX = 50
_HANG_SECONDS = 5.0
"""How long a killed process may take to end. One that takes longer hangs in the kernel, and runs no code of its own."""
_libc = ctypes.CDLL(None, use_errno=True) if LINUX else None


def prctl(option: int, value: int) -> None:
    """Call prctl(2); elsewhere than on Linux, nothing happens."""
    if _libc is not None:
        _libc.prctl(option, value, 0, 0, 0)


def kill_group(pid: int, number: int) -> None:
    """Send a signal to a job's process group, if it still exists."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, number)


def _parent_of(pid: int) -> int:
    with open(f"/proc/{pid}/stat", "rb") as file:  # noqa: PTH123 - importing pathlib would double the start time of the shim
        return int(file.read().rpartition(b")")[2].split()[1])


def below(root: int, *, spared: set[int]) -> set[int]:
    """Return all processes below this one, as one look at /proc shows them, but not the `spared` with theirs (Linux only)."""
    children: dict[int, list[int]] = {}
    for name in os.listdir("/proc"):  # noqa: PTH208 - as above
        with contextlib.suppress(OSError, ValueError, IndexError):
            if name.isdigit():
                children.setdefault(_parent_of(int(name)), []).append(int(name))
    found: set[int] = set()
    front = [root]
    while front:
        front = [pid for parent in front for pid in children.get(parent, ()) if pid not in found and pid not in spared]
        found.update(front)
    return found


def _signal(pid: int, number: int, family: set[int]) -> None:
    """Signal a process if its parent is still of the family: its number may have gone to a stranger since the look."""
    with contextlib.suppress(OSError, ValueError, IndexError):
        handle = os.pidfd_open(pid)
        try:
            if _parent_of(pid) in family:
                signal.pidfd_send_signal(handle, number)
        finally:
            os.close(handle)


def reaped() -> dict[int, int] | None:
    """Reap the children that have ended; return their statuses. None: there is no child any more."""
    found: dict[int, int] = {}
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return found or None
        if pid == 0:
            return found
        found[pid] = status


def kill_below(*, spared: set[int]) -> dict[int, int]:
    """Kill every process below us, but not the `spared` children with theirs; return the statuses of our own children.

    All are stopped before any is killed, because a process that is stopped starts no other. It ends when the kernel says that
    nothing is left, or when all that is left was killed and hangs in the kernel.
    """
    statuses: dict[int, int] = {}
    me = os.getpid()
    seen: set[int] = set()
    freezes, progress_at, pause_seconds = 0, time.monotonic(), 0.001
    while (ended := reaped()) is not None:
        statuses.update(ended)
        found = below(me, spared=spared)
        family = found | {me}
        fresh = found - seen
        if fresh or ended:
            progress_at = time.monotonic()
        if fresh and freezes < _FREEZES_MAX:
            freezes += 1
            for pid in fresh:
                _signal(pid, signal.SIGSTOP, family)
            seen |= fresh
            continue
        for pid in found:
            _signal(pid, signal.SIGKILL, family)
        if (spared and not found) or time.monotonic() - progress_at > _HANG_SECONDS:
            break
        seen, freezes = found, 0
        time.sleep(pause_seconds)
        pause_seconds = min(2 * pause_seconds, 0.05)
    return statuses


def woken_by_children() -> int:
    """Return the end of a pipe that gets a byte whenever a child has ended."""
    wake, wakeup = os.pipe()
    os.set_blocking(wake, False)
    os.set_blocking(wakeup, False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.set_wakeup_fd(wakeup, warn_on_full_buffer=False)
    return wake


def empty(pipe: int) -> None:
    """Read what is in a pipe, without waiting."""
    with contextlib.suppress(BlockingIOError):
        os.read(pipe, 65536)


def received(link: socket.socket, flags: int = 0) -> bytes:
    """Return what has arrived; nothing if the other side is gone."""
    try:
        return link.recv(65536, flags)
    except OSError:
        return b""
