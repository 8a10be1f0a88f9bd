"""The data directory of the embedded PostgreSQL: its layout, its locks, and what a killed process leaves behind."""

import contextlib
import fcntl
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from kube_job_runner.domain import errors
from kube_job_runner.telemetry import loggers

PORT = 5432  # only a part of the name of the socket
ORPHAN_SECONDS = 60.0
_SOCKET_PATH_MAX_BYTES = 103  # sun_path: 108 with its NUL on Linux, 104 on macOS
_NO_SUCH_PID = 2**31 - 2  # above pid_max of every system

_log = loggers.get_logger(__name__)


def stop_process(pid: int, *, gone: Callable[[], bool], timeout_seconds: float) -> None:
    """Stop a PostgreSQL server: SIGINT, then SIGQUIT, then SIGKILL.

    SIGINT is a fast, clean shutdown, and has `timeout_seconds`. After SIGQUIT the next start recovers from the log.
    Source: https://www.postgresql.org/docs/current/server-shutdown.html
    """
    for number, seconds in ((signal.SIGINT, timeout_seconds), (signal.SIGQUIT, 5.0), (signal.SIGKILL, 5.0)):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)
        deadline = time.monotonic() + seconds
        while not gone():
            if time.monotonic() > deadline:
                _log.warning(
                    "PostgreSQL does not stop",
                    action="postgres.stop",
                    pid=pid,
                    signal=number.name,
                    waited_seconds=seconds,
                )
                break
            time.sleep(0.01)
        else:
            return


class Layout:
    """The folders and files of one data directory."""

    def __init__(self, data_dir: Path) -> None:
        self.root = data_dir.expanduser().absolute()
        self.home = self.root / "postgres"
        self.data = self.home / "data"
        self.log = self.home / "server.log"
        self._pid_file = self.data / "postmaster.pid"
        self._short_sockets = self.home / "socket-folder"
        self._lock: int | None = None

    # --- The first lock: a flock of ours ---

    def lock(self) -> None:
        """Lock the directory for this process.

        Raises:
            ConfigurationError: another process has the lock, or the directory cannot be written.
        """
        try:
            self.root.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(self.root / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise errors.ConfigurationError(f"cannot use the data directory {self.root}: {error}") from error
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            holder = os.read(descriptor, 32).decode(errors="replace").strip() or "unknown"
            os.close(descriptor)
            raise errors.ConfigurationError(
                f"the data directory {self.root} is in use by process {holder}: stop it, or choose another directory "
                "with --data or KJR_DATA_DIR"
            ) from None
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
        self._lock = descriptor
        self.home.mkdir(mode=0o700, exist_ok=True)

    def unlock(self) -> None:
        """Release the lock."""
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    # --- The second lock: postmaster.pid of PostgreSQL ---

    def _pid_lines(self) -> list[str]:
        try:
            return self._pid_file.read_text(errors="replace").split("\n")
        except OSError:
            return []

    def ready(self, pid: int) -> bool:
        """Return whether the server of that pid accepts connections (line 8 of postmaster.pid)."""
        lines = self._pid_lines()
        return len(lines) >= 8 and lines[0].strip() == str(pid) and lines[7].strip() == "ready"

    def running_sockets(self) -> Path | None:
        """Return the socket folder of the server that runs on this data (line 5 of postmaster.pid), or None."""
        lines = self._pid_lines()
        if len(lines) < 8 or lines[7].strip() != "ready" or not self._is_server(abs(int(lines[0] or "0"))):
            return None
        return Path(lines[4].strip())

    def stop_orphan(self) -> None:
        """Stop a server whose parent was killed, and make the pid file of a dead server harmless.

        The caller has our own lock.
        """
        lines = self._pid_lines()
        if not lines or not lines[0].strip().lstrip("-").isdigit():
            return
        pid = abs(int(lines[0]))
        if self._is_server(pid):
            _log.info(
                "stopping the PostgreSQL that a killed process left behind",
                action="postgres.stop",
                pid=pid,
                data_dir=str(self.root),
            )
            stop_process(pid, gone=lambda: not self._is_server(pid), timeout_seconds=ORPHAN_SECONDS)
        elif pid != _NO_SUCH_PID:
            # Another process may have that pid now, in containers always, and PostgreSQL would refuse to start. The file
            # stays: PostgreSQL finds backends that still run by the shared memory id in it.
            lines[0] = str(_NO_SUCH_PID)
            with contextlib.suppress(FileNotFoundError):
                self._pid_file.write_text("\n".join(lines))

    def _is_server(self, pid: int) -> bool:
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return False
        except PermissionError:
            pass
        proc = Path("/proc") / str(pid)
        if proc.exists():
            try:
                if (proc / "stat").read_text().rsplit(")", 1)[1].split()[0] == "Z":
                    return False
                return (proc / "cwd").resolve(
                    strict=True
                ) == self.data.resolve()  # a server's working directory is its data folder
            except OSError:
                return False
        if Path("/proc/self").exists():
            return False
        answer = subprocess.run(
            ["ps", "-o", "command=", "-p", str(pid)], capture_output=True, text=True, timeout=10, check=False
        )
        return "postgres" in answer.stdout and str(self.data) in answer.stdout

    # --- The data ---

    def major(self) -> int | None:
        """Return the major version that created the data; None: there are no data."""
        try:
            return int((self.data / "PG_VERSION").read_text())
        except (FileNotFoundError, ValueError):
            return None

    def fresh(self) -> Path:
        """Return a new empty folder for initdb."""
        folder = self.home / "data.new"
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(mode=0o700)
        return folder

    def adopt(self, fresh: Path) -> None:
        """Rename a finished folder to the data folder, durably."""
        fresh.rename(self.data)
        descriptor = os.open(self.home, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

    def give_to(self, uid: int) -> None:
        """Give all files to `uid`. They belong to somebody else if we ran as another user before."""
        if os.geteuid() != 0 or self.home.stat().st_uid == uid:
            return
        for folder, _, files in os.walk(self.home):
            os.chown(folder, uid, -1, follow_symlinks=False)
            for name in files:
                os.chown(Path(folder) / name, uid, -1, follow_symlinks=False)

    # --- Sockets and log ---

    def remove_leftovers(self) -> None:
        """Remove the sockets of a server that is gone, with their lock files: another process may have their pid now."""
        shutil.rmtree(self.home / "run", ignore_errors=True)
        shutil.rmtree(self.home / "data.new", ignore_errors=True)
        try:
            short = Path(self._short_sockets.read_text().strip())
        except OSError:
            return
        if short.name.startswith("kjr-") and not short.is_symlink():
            shutil.rmtree(short, ignore_errors=True)
        self._short_sockets.unlink(missing_ok=True)

    def socket_folder(self) -> Path:
        """Return a new 0700 folder for the socket: `run`, or a temporary folder if its path is too long for a socket."""
        folder = self.home / "run"
        if len(os.fsencode(folder / f".s.PGSQL.{PORT}")) <= _SOCKET_PATH_MAX_BYTES:
            folder.mkdir(mode=0o700, exist_ok=True)
            return folder
        short = Path(tempfile.mkdtemp(prefix="kjr-"))
        if len(os.fsencode(short)) > _SOCKET_PATH_MAX_BYTES - 20:
            short.rmdir()
            short = Path(tempfile.mkdtemp(prefix="kjr-", dir="/tmp"))
        self._short_sockets.write_text(str(short))
        return short

    def renew_sockets(self, folder: Path) -> None:
        """Remove the socket of a server that has ended, with its lock file. The folder stays, so the URL does too."""
        folder.mkdir(mode=0o700, exist_ok=True)
        for left in folder.glob(f".s.PGSQL.{PORT}*"):
            left.unlink(missing_ok=True)

    def rotate_log(self, max_bytes: int) -> None:
        """Rename the log if it is larger than `max_bytes`. One older log is kept."""
        with contextlib.suppress(FileNotFoundError):
            if self.log.stat().st_size > max_bytes:
                self.log.replace(self.log.with_suffix(".log.1"))

    def log_tail(self) -> str:
        """Return the last lines of the server's log, joined to one line."""
        try:
            text = self.log.read_bytes()[-2000:].decode(errors="replace")
        except OSError:
            return "no log"
        return " | ".join(line for line in text.splitlines()[-4:] if line.strip()) or "no log"
