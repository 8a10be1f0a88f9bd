"""Follows jobs: one thread watches the record, another reads the log, and the main thread gets their events and the signals.

Only the main thread writes, and it never waits for the network, so Ctrl-C is answered at once. The outcome of a job comes
from its record; the log is only shown.
"""

from __future__ import annotations

import contextlib
import queue
import signal
import threading
import time
from collections.abc import Callable, Iterator
from types import FrameType
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from kube_job_runner.client import Client, Job, LogChunk

_CHUNKS_HELD = 256
LOG_DRAIN_SECONDS = 10.0


class Submitted(NamedTuple):
    job: Job


class Changed(NamedTuple):
    """The job's record has changed, or was read for the first time."""

    job: Job


class Logged(NamedTuple):
    chunk: LogChunk


class LogEnded(NamedTuple):
    """The log has ended. `error` says why it is incomplete, if it is."""

    error: Exception | None


class Failed(NamedTuple):
    """The job cannot be submitted, or no longer be watched."""

    error: Exception


class Signalled(NamedTuple):
    number: int


Event = Submitted | Changed | Logged | LogEnded | Failed | Signalled


class Follower:
    """Starts the threads, and passes their events to the main thread one at a time."""

    def __init__(self, client: Client) -> None:
        self._client = client
        # SimpleQueue.put may be called from a signal handler; Queue.put may deadlock there.
        self._events: queue.SimpleQueue[Event] = queue.SimpleQueue()
        self._room = threading.Semaphore(_CHUNKS_HELD)

    def submit(self, call: Callable[[], Job]) -> None:
        """Submit a job in the background."""
        self._start(lambda: self._events.put(Submitted(call())))

    def watch(self, job_id: str, *, timeout_seconds: float | None = None) -> None:
        """Send the job's record now and after each change, until the job has ended."""

        def work() -> None:
            for job in self._client.changes(job_id, timeout=timeout_seconds):
                self._events.put(Changed(job))

        self._start(work)

    def logs(self, job_id: str, *, tail: int | None = None, attempt: int | None = None) -> None:
        """Send the job's log until the job has ended."""

        def work() -> None:
            error: Exception | None = None
            try:
                for chunk in self._client.log_chunks(job_id, follow=True, tail=tail, attempt=attempt):
                    self._room.acquire()
                    self._events.put(Logged(chunk))
            except Exception as caught:  # noqa: BLE001 - the log is best effort; the record decides
                error = caught
            self._events.put(LogEnded(error))

        self._start(work)

    def next(self, timeout_seconds: float | None = None) -> Event | None:
        """Return the next event, or None if none arrives in time."""
        try:
            event = self._events.get(timeout=timeout_seconds)
        except queue.Empty:
            return None
        if isinstance(event, Logged):
            self._room.release()
        return event

    @contextlib.contextmanager
    def signals(self) -> Iterator[None]:
        """Turn SIGINT and SIGTERM into events. The third one ends the process at once."""
        count = 0

        def handle(number: int, _: FrameType | None) -> None:
            nonlocal count
            count += 1
            if count > 2:
                raise SystemExit(128 + number)
            self._events.put(Signalled(number))

        before = {number: signal.signal(number, handle) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _start(self, work: Callable[[], None]) -> None:
        def guarded() -> None:
            try:
                work()
            except Exception as error:  # noqa: BLE001 - handed to the main thread, which reports it
                self._events.put(Failed(error))

        threading.Thread(target=guarded, daemon=True).start()


class Deadline:
    """The end of a wait."""

    def __init__(self, seconds: float) -> None:
        self._end = time.monotonic() + seconds

    @property
    def left_seconds(self) -> float:
        """Seconds left, not below 0."""
        return max(0.0, self._end - time.monotonic())
