"""The embedded PostgreSQL: start, stop and find it.

Its files are in `<data_dir>/postgres/`: `data` (the tables), `run` (the socket) and `server.log`. Two locks exclude a second
owner: a flock on `<data_dir>/lock`, held while the server runs, and PostgreSQL's own `postmaster.pid`. The server does not
listen on TCP. Only the owner of the data can open the socket folder (mode 0700), so the socket needs no password.
"""

import contextlib
import os
import pwd
import shutil
import subprocess
import sys
import threading
import time
import urllib.parse
from pathlib import Path

from kube_job_runner.adapters.postgres.embedded import binaries, data_directory, launcher
from kube_job_runner.domain import errors
from kube_job_runner.settings import plain_environment

USER = "kjr"
DATABASE = "postgres"
LOG_MAX_BYTES = 10 * 1024 * 1024
STOP_SECONDS = 30.0
START_SECONDS = 600.0  # recovery after a crash takes long; this is a limit for a server that hangs
LINGER_SECONDS = 30.0  # how long the backends of a killed server may take to notice it and end
LINGER_PAUSE_SECONDS = 0.1

_MAIN_THREAD = "the embedded PostgreSQL runs as long as the thread that starts it: use the main thread"
_LINGERING = "pre-existing shared memory block"

# Durability comes first: no setting here may lose a commit in exchange for speed.
_OPTIONS = {
    "listen_addresses": "",
    "unix_socket_permissions": "0700",
    "fsync": "on",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "log_checkpoints": "off",
    "max_connections": "100",
    "max_wal_size": "2GB",
    "jit": "off",
    "max_parallel_workers_per_gather": "0",  # our queries are short, and /dev/shm of a container has 64 MB
}


class EmbeddedServer:
    """A running embedded PostgreSQL."""

    def __init__(
        self,
        layout: data_directory.Layout,
        process: subprocess.Popen[bytes],
        sockets: Path,
        *,
        found: binaries.Binaries,
        identity: str,
    ) -> None:
        self._layout = layout
        self._process = process
        self._sockets = sockets
        self._found = found
        self._identity = identity
        self._stopping = threading.Lock()
        self.url = _url(sockets)
        """The URL for asyncpg, over the unix socket."""

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def running(self) -> bool:
        return self._process.poll() is None

    @property
    def ready(self) -> bool:
        """Whether it accepts connections, as its own pid file says."""
        return self.running and self._layout.ready(self.pid)

    @property
    def has_data(self) -> bool:
        """Whether its data folder is still there. A disk that cannot be read says nothing."""
        try:
            (self._layout.data / "PG_VERSION").stat()
        except (FileNotFoundError, NotADirectoryError):
            return False
        except OSError:
            return True
        return True

    @property
    def data(self) -> Path:
        """Its data folder."""
        return self._layout.data

    @property
    def socket(self) -> Path:
        """The path of its socket."""
        return self._sockets / f".s.PGSQL.{data_directory.PORT}"

    def ending(self) -> str:
        """Return how it ended, with its last words and where its log is."""
        code = self._process.poll()
        how = "runs" if code is None else f"killed by signal {-code}" if code < 0 else f"exit code {code}"
        return f"{how}; its last words: {self._layout.log_tail()} (see {self._layout.log})"

    def clear(self) -> None:
        """Make the directory ready for `respawn`. It may take a minute, and may run in any thread.

        Raises:
            OSError: the directory cannot be written.
        """
        self._layout.stop_orphan()
        self._layout.renew_sockets(self._sockets)

    def respawn(self) -> None:
        """Start it again on the same socket, after it has ended. It does not wait; see `ready`.

        Call it from the main thread, like `start`. It never makes new data.

        Raises:
            OSError: the process cannot be started.
        """
        if threading.current_thread() is not threading.main_thread():
            raise RuntimeError(_MAIN_THREAD)
        self._process = _spawn(self._layout, self._found, self._sockets, identity=self._identity)

    def stop(self, *, timeout_seconds: float = STOP_SECONDS) -> None:
        """Stop the server, and release the data directory. It may be called again.

        The shutdown is fast and clean. If it takes longer than `timeout_seconds`, the server is killed.
        """
        with self._stopping:
            if self.running:
                data_directory.stop_process(self.pid, gone=lambda: not self.running, timeout_seconds=timeout_seconds)
                self._process.wait(timeout=timeout_seconds)
            self._layout.unlock()


def start(data_dir: Path, *, identity: str | None = None) -> EmbeddedServer:
    """Start PostgreSQL on `<data_dir>/postgres`, which is created if needed; return when it accepts connections.

    It blocks. Call it from the main thread: on Linux, the server ends with the thread that started it. `identity` says how to
    leave the root user (`plain`, `namespace`, `setuid`); None chooses.

    Raises:
        ConfigurationError: another process uses the directory, there is no PostgreSQL to run, or it did not start.
    """
    if threading.current_thread() is not threading.main_thread():
        raise RuntimeError(_MAIN_THREAD)
    layout = data_directory.Layout(data_dir)
    layout.lock()
    try:
        return _start_locked(layout, identity or _identity())
    except BaseException:
        layout.unlock()
        raise


def running_url(data_dir: Path) -> str | None:
    """Return the URL of the server that another process runs on this data directory, or None."""
    layout = data_directory.Layout(data_dir)
    sockets = layout.running_sockets()
    return None if sockets is None else _url(sockets)


def _url(sockets: Path) -> str:
    query = urllib.parse.urlencode({"host": str(sockets), "port": data_directory.PORT})
    return f"postgresql://{USER}@/{DATABASE}?{query}"


def _start_locked(layout: data_directory.Layout, identity: str) -> EmbeddedServer:
    layout.stop_orphan()
    found = binaries.find(major=layout.major())
    layout.remove_leftovers()
    try:
        return _run_alone(layout, found, identity=identity)
    except _NoNamespaceError:
        if os.geteuid() != 0:
            raise errors.ConfigurationError(
                f"PostgreSQL needs a user with an entry in /etc/passwd; uid {os.geteuid()} has none, and this machine "
                "allows no user namespaces. Run as a named user, or set KJR_DATABASE_URL."
            ) from None
        return _run_alone(layout, found, identity="setuid")


class _NoNamespaceError(Exception):
    """The machine does not allow a new user namespace."""


class _BackendsLingerError(errors.ConfigurationError):
    """Backends of a killed server still hold its shared memory. They end by themselves."""


def _run_alone(layout: data_directory.Layout, found: binaries.Binaries, *, identity: str) -> EmbeddedServer:
    """Run the server, after the backends of a killed one have ended."""
    deadline = time.monotonic() + LINGER_SECONDS
    while True:
        try:
            return _run(layout, found, identity=identity)
        except _BackendsLingerError:
            if time.monotonic() > deadline:
                raise
            time.sleep(LINGER_PAUSE_SECONDS)


def _identity() -> str:
    if not sys.platform.startswith("linux"):
        return "plain"
    if os.geteuid() == 0:
        return "namespace"
    try:
        pwd.getpwuid(os.geteuid())
    except KeyError:
        return "namespace"
    return "plain"


def _command(identity: str, program: Path, *arguments: str) -> list[str]:
    script = str(Path(launcher.__file__).resolve())
    return [sys.executable, "-I", "-S", script, str(os.getpid()), identity, str(program), *arguments]


def _run(layout: data_directory.Layout, found: binaries.Binaries, *, identity: str) -> EmbeddedServer:
    layout.give_to(launcher.NOBODY if identity == "setuid" else os.geteuid())
    if not layout.data.exists():
        _initialise(layout, found, identity=identity)
    sockets = layout.socket_folder()
    if identity == "setuid":
        os.chown(sockets, launcher.NOBODY, launcher.NOBODY)
    process = _spawn(layout, found, sockets, identity=identity)
    try:
        _await_ready(layout, process, identity=identity)
    except BaseException:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        process.wait()
        raise
    return EmbeddedServer(layout, process, sockets, found=found, identity=identity)


def _spawn(
    layout: data_directory.Layout, found: binaries.Binaries, sockets: Path, *, identity: str
) -> subprocess.Popen[bytes]:
    options = [f"--{key}={value}" for key, value in (_OPTIONS | {"unix_socket_directories": str(sockets)}).items()]
    layout.rotate_log(LOG_MAX_BYTES)
    # A new session: Ctrl-C in a terminal must reach only us, and we then stop the server.
    with layout.log.open("ab") as log:
        return subprocess.Popen(
            _command(identity, found.postgres, "-D", str(layout.data), *options),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
            cwd="/",
            env=_environment(),
        )


def _environment() -> dict[str, str]:
    # PG* variables of the user are about other servers, and LC_* must not change the sort order. Local jobs can read it.
    return plain_environment() | {"LC_ALL": "C", "TZ": "UTC"}


def _initialise(layout: data_directory.Layout, found: binaries.Binaries, *, identity: str) -> None:
    """Create the data in another folder, and rename it at the end: a kill in between leaves no incomplete data folder."""
    fresh = layout.fresh()
    if identity == "setuid":
        os.chown(fresh, launcher.NOBODY, launcher.NOBODY)
    locale = ["--locale=C", "--encoding=UTF8"]
    if found.major >= 17:
        locale += ["--locale-provider=builtin", "--builtin-locale=C.UTF-8"]
    answer = subprocess.run(
        _command(identity, found.initdb, "-D", str(fresh), "-U", USER, "--auth=trust", "--data-checksums", *locale),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        errors="replace",
        check=False,
        cwd="/",
        env=_environment(),
    )
    if answer.returncode != 0:
        shutil.rmtree(fresh, ignore_errors=True)
        if answer.returncode == launcher.NO_NAMESPACE and identity == "namespace":
            raise _NoNamespaceError
        raise errors.ConfigurationError(_initdb_failed(layout, answer.stderr, identity=identity))
    layout.adopt(fresh)


def _initdb_failed(layout: data_directory.Layout, text: str, *, identity: str) -> str:
    said = " ".join(text.split())[-500:]
    return f"could not create the embedded database in {layout.root}: {said}.{_hint(identity)}"


def _hint(identity: str) -> str:
    if identity != "setuid":
        return ""
    return " It runs as the user nobody here, who must be able to reach that folder and the PostgreSQL binaries."


def _await_ready(layout: data_directory.Layout, process: subprocess.Popen[bytes], *, identity: str) -> None:
    deadline = time.monotonic() + START_SECONDS
    while not layout.ready(process.pid):
        if process.poll() is not None:
            if process.returncode == launcher.NO_NAMESPACE:
                raise _NoNamespaceError
            tail = layout.log_tail()
            failure = _BackendsLingerError if _LINGERING in tail else errors.ConfigurationError
            raise failure(
                f"the embedded PostgreSQL in {layout.root} did not start: {tail} (see {layout.log}).{_hint(identity)}"
            )
        if time.monotonic() > deadline:
            raise errors.ConfigurationError(
                f"the embedded PostgreSQL in {layout.root} was not ready within {START_SECONDS:.0f} s; see {layout.log}"
            )
        time.sleep(0.005)
