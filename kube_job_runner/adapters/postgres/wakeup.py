"""Hints that something was committed, by LISTEN/NOTIFY. Hints make waiting short; correctness comes from polling.

One connection per process listens. A heartbeat checks it, because a half-open connection gives no sign. A lost connection is
opened again with backoff, and then every waiter gets a hint, because one may have been missed. Behind a transaction pooler no
hint ever arrives, and everybody polls.
"""

import asyncio
import contextlib
import weakref
from typing import Any

import asyncpg

from kube_job_runner.adapters.postgres import failure
from kube_job_runner.domain.backoff import Backoff
from kube_job_runner.ports import Topic
from kube_job_runner.telemetry import loggers

MESSAGES, JOBS, LOGS = "kjr_messages", "kjr_jobs", "kjr_logs"
CHANNELS: dict[str, str] = {MESSAGES: "messages", JOBS: "jobs", LOGS: "logs"}
"""The topic of each channel of NOTIFY. Some statements in `queries/` name a channel too."""
HEARTBEAT_SECONDS = 15.0
_ANSWER_SECONDS = 5.0
_RETRY_SECONDS = 0.2
_RETRY_MAX_SECONDS = 5.0
_JUST_NOW_SECONDS = 1.0

_log = loggers.get_logger(__name__)


class _Topic:
    """The hints of one topic. They are counted, so that a hint between two waits of a task is not lost."""

    def __init__(self) -> None:
        self.count = 0
        self.last_at = float("-inf")
        self.changed = asyncio.Event()
        self.seen: weakref.WeakKeyDictionary[asyncio.Task[Any], int] = weakref.WeakKeyDictionary()

    def hint(self) -> None:
        """Wake all waiting tasks."""
        self.count += 1
        self.last_at = asyncio.get_running_loop().time()
        self.changed.set()
        self.changed = asyncio.Event()

    def unseen(self, task: asyncio.Task[Any]) -> bool:
        """Return whether a hint came since the last wait of a task.

        Before its first wait, a hint of the last second counts: the task may have read the database before it.
        """
        seen = self.seen.get(task)
        if seen is None:
            return asyncio.get_running_loop().time() - self.last_at < _JUST_NOW_SECONDS
        return seen != self.count


class PostgresWakeup:
    """`Wakeup` on PostgreSQL."""

    def __init__(self, url: str, *, heartbeat_seconds: float = HEARTBEAT_SECONDS) -> None:
        self._url = url
        self._heartbeat_seconds = heartbeat_seconds
        self._topics = {topic: _Topic() for topic in CHANNELS.values()}
        self._task: asyncio.Task[None] | None = None
        self.listening = asyncio.Event()
        """Set while the connection listens."""

    def start(self) -> None:
        """Begin to listen, in a new task."""
        self._task = asyncio.create_task(self._run(), name="postgres-wakeup")

    async def close(self) -> None:
        """Stop listening."""
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task

    async def wait(self, topic: Topic, *, timeout_seconds: float) -> bool:
        state = self._topics[topic]
        task = asyncio.current_task()
        assert task is not None
        if not state.unseen(task):
            state.seen[task] = state.count
            try:
                async with asyncio.timeout(timeout_seconds):
                    await state.changed.wait()
            except TimeoutError:
                return False
        state.seen[task] = state.count
        return True

    async def _run(self) -> None:
        retries = Backoff(first_seconds=_RETRY_SECONDS, max_seconds=_RETRY_MAX_SECONDS)
        while True:
            started = asyncio.get_running_loop().time()
            try:
                await self._listen()
            except Exception as error:  # noqa: BLE001 - waiters poll meanwhile, and every error is retried
                if asyncio.get_running_loop().time() - started > self._heartbeat_seconds:
                    retries.reset()
                meaning = failure.translate(error)
                _log.warning(
                    "the connection for hints was lost",
                    action="wakeup.listen",
                    error=str(meaning) or type(meaning).__name__,
                )
            finally:
                self.listening.clear()
            await asyncio.sleep(retries.next())

    async def _listen(self) -> None:
        connection = await asyncpg.connect(
            self._url, timeout=_ANSWER_SECONDS, server_settings={"application_name": "kube-job-runner wakeup"}
        )
        lost = asyncio.Event()
        connection.add_termination_listener(lambda _connection: lost.set())
        try:
            for channel in CHANNELS:
                await connection.add_listener(channel, self._heard)
            self.listening.set()
            for topic in self._topics.values():  # a hint may have come before we listened
                topic.hint()
            while not lost.is_set():
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(self._heartbeat_seconds):
                        await lost.wait()
                if not lost.is_set():
                    await connection.execute("SELECT 1", timeout=_ANSWER_SECONDS)
            raise ConnectionError("the server closed the connection")
        finally:
            connection.terminate()

    def _heard(self, _connection: object, _pid: int, channel: str, _payload: object) -> None:
        topic = CHANNELS.get(channel)
        if topic is not None:
            self._topics[topic].hint()
