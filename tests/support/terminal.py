"""A process on a pseudo-terminal: what it shows there, and what Ctrl-C does."""

from __future__ import annotations

import contextlib
import os
import pty
import re
import select
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence

CTRL_C = b"\x03"
# The child makes the terminal its controlling one, which is what turns Ctrl-C into SIGINT, and becomes the command.
_LAUNCHER = "import fcntl, os, sys, termios; fcntl.ioctl(0, termios.TIOCSCTTY, 0); os.execv(sys.argv[1], sys.argv[1:])"


class Terminal:
    """The outer end of the terminal."""

    def __init__(self, master: int, process: subprocess.Popen[bytes]) -> None:
        self._master = master
        self.process = process
        self.screen = b""

    def press(self, keys: bytes) -> None:
        """Press keys."""
        os.write(self._master, keys)

    def expect(self, pattern: str, timeout_seconds: float = 20.0) -> None:
        """Read until the pattern was written, or fail."""
        deadline = time.monotonic() + timeout_seconds
        while not re.search(pattern.encode(), self.screen):
            left = deadline - time.monotonic()
            assert left > 0, f"{pattern!r} did not come: {self.screen!r}"
            assert self._read(left) or re.search(pattern.encode(), self.screen), (
                f"{pattern!r} never came: {self.screen!r}"
            )

    def finish(self, timeout_seconds: float = 20.0) -> int:
        """Read to the end of the process and return its exit code."""
        deadline = time.monotonic() + timeout_seconds
        while self._read(max(0.0, deadline - time.monotonic())):
            assert time.monotonic() < deadline, f"it does not end: {self.screen!r}"
        return self.process.wait(max(0.1, deadline - time.monotonic()))

    def _read(self, timeout_seconds: float) -> bool:
        ready, _, _ = select.select([self._master], [], [], timeout_seconds)
        if not ready:
            return False
        try:
            data = os.read(self._master, 65_536)
        except OSError:  # Linux answers EIO when the last process has closed the terminal
            return False
        self.screen += data
        return bool(data)


@contextlib.contextmanager
def on_terminal(command: Sequence[str], environ: Mapping[str, str], *, columns: int = 160) -> Iterator[Terminal]:
    """Run a command on a terminal; it is killed at the end if it still runs."""
    master, slave = pty.openpty()
    try:
        process = subprocess.Popen(
            [sys.executable, "-c", _LAUNCHER, *command],
            stdin=slave,
            stdout=slave,
            stderr=slave,
            env={**environ, "TERM": "xterm-256color", "COLUMNS": str(columns), "LINES": "40"},
            start_new_session=True,
        )
        os.close(slave)
        terminal = Terminal(master, process)
        try:
            yield terminal
        finally:
            if process.poll() is None:
                process.kill()
            process.wait()
    finally:
        os.close(master)
