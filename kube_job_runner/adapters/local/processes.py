"""Controls local processes through the shim: starts them, signals them, and reports how they end.

The shim is started with the first job, and again after it died. All its processes die with it, so its end is reported as
the end of each of them.
"""

import asyncio
import contextlib
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol

import msgspec

import kube_job_runner
from kube_job_runner.adapters.local.launch import Account
from kube_job_runner.settings import plain_environment

_CLOSE_SECONDS = 10.0
_SHIM = "import sys; sys.path.append(sys.argv[1]); from kube_job_runner.adapters.local_shim.shim import main; main()"


class Report(msgspec.Struct, frozen=True):
    """A report of the shim about a process. `error` says why it could not be started."""

    id: str
    event: str
    error: str = ""
    code: int = 0
    signal: int = 0


class Listener(Protocol):
    """Receives the reports about processes, on the event loop and in the order of the events."""

    def process_started(self, uid: str) -> None: ...

    def process_refused(self, uid: str, error: str) -> None: ...

    def process_ended(self, uid: str, *, code: int, signal: int) -> None:
        """The process and all its children have ended. `signal` is 0 if no signal killed it."""
        ...

    def process_lost(self, uid: str) -> None:
        """The shim died, and the process with it. How it ended is unknown."""
        ...


class Processes:
    """Local processes by the uid of their cluster job."""

    def __init__(self, listener: Listener, *, account: Account | None = None) -> None:
        self._listener = listener
        self._account = account
        self._decoder = msgspec.json.Decoder(Report)
        self._alive: set[str] = set()
        self._shim: subprocess.Popen[bytes] | None = None
        self._writer: asyncio.StreamWriter | None = None
        self._reading: asyncio.Task[None] | None = None
        self._starting = asyncio.Lock()

    @property
    def shim_pid(self) -> int | None:
        return self._shim.pid if self._shim is not None else None

    async def start(self, uid: str, *, argv: Sequence[str], env: Mapping[str, str], cwd: Path, log: Path) -> None:
        """Start a process. The listener gets a report of whether it started.

        Raises:
            OSError: the shim itself cannot be started.
        """
        async with self._starting:
            if self._writer is None:
                await self._launch()
        self._alive.add(uid)
        order: dict[str, object] = {
            "do": "start",
            "id": uid,
            "argv": argv,
            "env": env,
            "cwd": str(cwd),
            "log": str(log),
        }
        if (who := self._account) is not None:
            order["user"] = [who.uid, who.gid, who.groups]
        self._send(order)

    def signal(self, uid: str, number: int) -> None:
        """Send a signal to a process and its group. If it has ended, nothing happens."""
        self._send({"do": "signal", "id": uid, "signal": number})

    async def close(self) -> None:
        """Kill every process and end the shim."""
        self._alive.clear()
        if self._writer is not None:
            self._writer.close()
        if self._reading is not None:
            await self._reading  # ends when the shim closes its end of the socket
        self._reading = None

    async def _launch(self) -> None:
        ours, theirs = socket.socketpair()
        with theirs:
            # A session of its own, so that Ctrl-C in the terminal reaches the jobs only through the runner. An environment
            # of its own, because its jobs can read it.
            self._shim = subprocess.Popen(  # noqa: ASYNC220 - it returns after the fork and blocks on nothing
                [sys.executable, "-I", "-S", "-X", "utf8", "-c", _SHIM, str(Path(kube_job_runner.__file__).parents[1])],
                stdin=theirs.fileno(),
                start_new_session=True,
                env=plain_environment(),
            )
        reader, self._writer = await asyncio.open_unix_connection(sock=ours)
        self._reading = asyncio.create_task(self._read(reader, self._shim), name="local-shim")

    async def _read(self, reader: asyncio.StreamReader, shim: subprocess.Popen[bytes]) -> None:
        with contextlib.suppress(ConnectionError):
            async for line in reader:
                self._hear(self._decoder.decode(line))
        if self._writer is not None:
            self._writer.close()
        self._writer = None  # the next start launches another shim
        lost, self._alive = self._alive, set()
        await self._end_shim(shim)
        self._shim = None
        for uid in sorted(lost):
            self._listener.process_lost(uid)

    def _hear(self, report: Report) -> None:
        if report.id not in self._alive:
            return
        if report.event == "started":
            self._listener.process_started(report.id)
            return
        self._alive.discard(report.id)
        if report.event == "refused":
            self._listener.process_refused(report.id, report.error)
        else:
            self._listener.process_ended(report.id, code=report.code, signal=report.signal)

    def _send(self, order: Mapping[str, object]) -> None:
        if self._writer is not None:
            self._writer.write(msgspec.json.encode(order) + b"\n")

    async def _end_shim(self, shim: subprocess.Popen[bytes]) -> None:
        try:
            await asyncio.to_thread(shim.wait, _CLOSE_SECONDS)
        except subprocess.TimeoutExpired:
            shim.kill()
            await asyncio.to_thread(shim.wait)
