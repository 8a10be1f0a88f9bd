"""Keeps the embedded PostgreSQL running while we run: notices its end and its silence, starts it again, and gives up in time.

A server that was killed is started again at once. One that does not stay up is tried again after longer and longer pauses. After
`TRIES` failures within `WINDOW_SECONDS` the process ends with the server's last words, because without its database it is of
no use, and a person or a supervisor must see that. A removed data folder ends it at once: a new one would be empty.
"""

import asyncio
import contextlib
import struct
import time
from collections import deque
from collections.abc import Awaitable, Callable

from kube_job_runner.adapters.postgres.embedded import server_process
from kube_job_runner.domain.backoff import Backoff
from kube_job_runner.domain.errors import Unrecoverable
from kube_job_runner.ports import Health, QueueDepth
from kube_job_runner.telemetry import loggers

TRIES = 5
WINDOW_SECONDS = 600.0
FIRST_PAUSE_SECONDS = 0.5
PAUSE_MAX_SECONDS = 8.0
LOOK_SECONDS = 0.1
KNOCK_SECONDS = 5.0
ANSWER_SECONDS = 3.0
# SSLRequest: the shortest message that the server answers, before any login (protocol 3.0, "Message Formats").
_KNOCK = struct.pack("!ii", 8, 80877103)

log = loggers.get_logger(__name__)


class Keeper:
    """Keeps one server. Run `run` in the event loop of the main thread, beside the components."""

    def __init__(
        self,
        server: server_process.EmbeddedServer,
        *,
        monotonic: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._server = server
        self._monotonic = monotonic
        self._sleep = sleep
        self._ends: deque[float] = deque(maxlen=TRIES)
        self._pauses = Backoff(first_seconds=FIRST_PAUSE_SECONDS, max_seconds=PAUSE_MAX_SECONDS)
        self._starting = False
        self._silent = False

    def problem(self) -> str | None:
        """Return what is wrong with the server now, in words that anybody may read; None when nothing is."""
        if self._starting or not self._server.running:
            return "the embedded PostgreSQL has ended and is started again"
        return "the embedded PostgreSQL takes no connection" if self._silent else None

    async def run(self) -> None:
        """Watch the server, and start it again when it has ended, until cancelled.

        Raises:
            Unrecoverable: it does not stay up, or its data are gone.
        """
        knocking = asyncio.create_task(self._knock_always(), name="embedded-knock")
        try:
            await self._keep()
        finally:
            knocking.cancel()

    async def _keep(self) -> None:
        while True:
            if not self._server.has_data:
                raise Unrecoverable(f"the data of the embedded PostgreSQL were removed: {self._server.data}")
            if not self._server.running:
                await self._restart()
            elif self._starting:
                self._await_ready()
            await self._sleep(LOOK_SECONDS)

    def _await_ready(self) -> None:
        if self._server.ready:
            self._starting = False
            log.info("the embedded PostgreSQL is ready again", action="postgres.ready", pid=self._server.pid)
        elif self._monotonic() - self._ends[-1] > server_process.START_SECONDS:
            raise Unrecoverable(f"the embedded PostgreSQL is not ready after its new start: {self._server.ending()}")

    async def _restart(self) -> None:
        """Start the server again, after a pause if it ended before.

        Raises:
            Unrecoverable: it has ended too often.
        """
        self._starting = True
        now = self._monotonic()
        said = self._server.ending()
        if len(self._ends) == TRIES and now - self._ends[0] < WINDOW_SECONDS:
            raise Unrecoverable(f"the embedded PostgreSQL does not stay up, after {TRIES} new starts: {said}")
        if not self._ends or now - self._ends[-1] >= WINDOW_SECONDS:
            self._pauses.reset()
        self._ends.append(now)
        pause_seconds = 0.0 if len(self._ends) == 1 else self._pauses.next()
        log.error(
            "the embedded PostgreSQL has ended; starting it again",
            action="postgres.end",
            ended=said,
            pause_seconds=round(pause_seconds, 1),
        )
        await self._sleep(pause_seconds)
        try:
            await asyncio.to_thread(self._server.clear)
            self._server.respawn()
        except OSError as error:  # counted as an end: the server still does not run
            log.error("the embedded PostgreSQL cannot be started", action="postgres.start", error=str(error))

    async def _knock_always(self) -> None:
        """Look now and then whether the server still takes connections: a stopped one keeps those that it has."""
        while True:
            await self._sleep(KNOCK_SECONDS)
            silent = self._server.running and not self._starting and not await self._answers()
            if silent and not self._silent:
                log.error("the embedded PostgreSQL takes no connection", action="postgres.silent", pid=self._server.pid)
            self._silent = silent

    async def _answers(self) -> bool:
        writer: asyncio.StreamWriter | None = None
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                reader, writer = await asyncio.open_unix_connection(str(self._server.socket))
                writer.write(_KNOCK)
                return bool(await reader.read(1))
        except (OSError, TimeoutError):
            return False
        finally:
            if writer is not None:
                with contextlib.suppress(OSError):
                    writer.close()


class KeptHealth:
    """`Health` of a process that keeps its own server: what the keeper knows is told at once, without a wait for an answer."""

    def __init__(self, health: Health, keeper: Keeper) -> None:
        self._health = health
        self._keeper = keeper

    async def check(self) -> dict[str, str | None]:
        """Return the readiness checks of the store, or what the keeper says."""
        problem = self._keeper.problem()
        if problem is not None:
            return {"database": problem, "schema": "unknown: the database does not answer"}
        return await self._health.check()

    async def depth(self) -> QueueDepth:
        """Return the figures for metrics."""
        return await self._health.depth()
