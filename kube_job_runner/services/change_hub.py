"""Change hub: callers wait until a job, or a log, has changed.

One task per process waits for hints and polls the versions of everything that is waited for in one query. So a thousand
long polls cost the database one small query per change, or per second.
"""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Collection, Hashable
from typing import Generic, TypeVar

from kube_job_runner.domain.errors import TemporaryError
from kube_job_runner.ports import Clock, Topic, Wakeup

K = TypeVar("K", bound=Hashable)

WOKEN_AT_ONCE = 50


class ChangeHub(Generic[K]):
    """Wakes callers when their job, or log, has changed. Its one task runs only while somebody waits."""

    def __init__(
        self,
        versions: Callable[[Collection[K]], Awaitable[dict[K, int]]],
        wakeup: Wakeup,
        clock: Clock,
        *,
        topic: Topic = "jobs",
        debounce_seconds: float = 0.02,
        poll_seconds: float = 1.0,
    ) -> None:
        self._versions = versions
        self._wakeup = wakeup
        self._topic: Topic = topic
        self._clock = clock
        self._debounce_seconds = debounce_seconds
        self._poll_seconds = poll_seconds
        self._waiters: dict[K, dict[asyncio.Future[bool], int]] = {}
        self._task: asyncio.Task[None] | None = None
        self.closed = False
        self.looks = 0
        """How many times the versions were read: what is read after a look is at least as new as what the look saw."""

    @property
    def waiting(self) -> int:
        return sum(map(len, self._waiters.values()))

    async def wait_newer(self, job_id: K, *, than: int, timeout_seconds: float) -> bool:
        """Wait until the version is above `than`, or the job is gone. False if the time limit passes first."""
        if self.closed or timeout_seconds <= 0:
            return False
        waiter: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self._waiters.setdefault(job_id, {})[waiter] = than
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._run(), name="change-hub")
        try:
            async with asyncio.timeout(timeout_seconds):
                return await waiter
        except TimeoutError:
            return False
        finally:
            self._remove(job_id, waiter)

    async def close(self) -> None:
        """End all waits, and stop the task."""
        self.closed = True
        for waiters in self._waiters.values():
            for waiter in waiters:
                _resolve(waiter, changed=False)
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task

    def _remove(self, job_id: K, waiter: asyncio.Future[bool]) -> None:
        waiters = self._waiters[job_id]
        del waiters[waiter]
        if not waiters:
            del self._waiters[job_id]

    async def _run(self) -> None:
        while self._waiters:
            started = self._clock.monotonic()
            try:
                await self._look()
                if await self._wakeup.wait(self._topic, timeout_seconds=self._poll_seconds):
                    await asyncio.sleep(self._debounce_seconds)
            except TemporaryError:
                pause_seconds = self._poll_seconds - (self._clock.monotonic() - started)
                await asyncio.sleep(max(pause_seconds, self._debounce_seconds))

    async def _look(self) -> None:
        asked = {job_id: list(waiters.items()) for job_id, waiters in self._waiters.items()}
        versions = await self._versions(list(asked))
        self.looks += 1
        woken = 0
        for job_id, waiters in asked.items():
            version = versions.get(job_id)
            for waiter, than in waiters:
                if version is None or version > than:
                    _resolve(waiter, changed=True)
                    woken += 1
                    if woken % WOKEN_AT_ONCE == 0:
                        await asyncio.sleep(0)  # others get a turn, also when thousands wait for one job


def _resolve(waiter: asyncio.Future[bool], *, changed: bool) -> None:
    if not waiter.done():
        waiter.set_result(changed)
