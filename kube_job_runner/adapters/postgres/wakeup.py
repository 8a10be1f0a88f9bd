"""Wake-up hints by LISTEN: one connection for the process. They only save time, so losing one loses nothing."""

from __future__ import annotations

import asyncio
import contextlib
import weakref
from typing import Any, Literal

import asyncpg

from kube_job_runner import telemetry

log = telemetry.get_logger(__name__)

Topic = Literal["messages", "jobs"]
_CHANNELS: dict[str, Topic] = {"kjr_messages": "messages", "kjr_jobs": "jobs"}
_RECONNECT_SECONDS = (0.1, 0.5, 1.0, 2.0, 5.0)
_PROBE_SECONDS = 30.0


class PostgresWakeup:
    """The `Wakeup` port."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._counts: dict[Topic, int] = {"messages": 0, "jobs": 0}
        self._bells: dict[Topic, asyncio.Event] = {"messages": asyncio.Event(), "jobs": asyncio.Event()}
        # What each waiting task has seen: a hint between two waits of one task is not lost on it.
        self._seen: weakref.WeakKeyDictionary[Any, dict[Topic, int]] = weakref.WeakKeyDictionary()
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to listen, in the background."""
        self._task = asyncio.create_task(self._listen_forever())

    async def close(self) -> None:
        """Stop listening."""
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task

    async def wait(self, topic: Topic, *, timeout_seconds: float) -> bool:
        """See `ports.Wakeup.wait`."""
        seen = self._seen.setdefault(asyncio.current_task(), dict(self._counts))
        if seen[topic] == self._counts[topic]:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(timeout_seconds):
                    await self._bells[topic].wait()
        woken = seen[topic] != self._counts[topic]
        seen[topic] = self._counts[topic]
        return woken

    def _ring(self, _connection: Any, _pid: int, channel: str, _payload: object) -> None:
        topic = _CHANNELS[channel]
        self._counts[topic] += 1
        bell, self._bells[topic] = self._bells[topic], asyncio.Event()
        bell.set()

    async def _listen_forever(self) -> None:
        failures = 0
        while True:
            try:
                await self._listen()
                failures = 0
            except (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
                delay_seconds = _RECONNECT_SECONDS[min(failures, len(_RECONNECT_SECONDS) - 1)]
                failures += 1
                log.warning("wake-up hints are off, polling goes on", error=str(error), delay_seconds=delay_seconds)
                await asyncio.sleep(delay_seconds)

    async def _listen(self) -> None:
        """Listen on one connection until it ends; a probe notices one that is half-open."""
        connection = await asyncpg.connect(self._url, timeout=10, command_timeout=10)
        try:
            for channel in _CHANNELS:
                await connection.add_listener(channel, self._ring)
            for channel in _CHANNELS:  # what was committed before we listened
                self._ring(connection, 0, channel, "")
            while not connection.is_closed():
                await asyncio.sleep(_PROBE_SECONDS)
                await connection.fetchval("SELECT 1")
        finally:
            connection.terminate()
