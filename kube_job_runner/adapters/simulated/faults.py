"""Faults of a simulated cluster: calls that fail, or that succeed and report a failure; watches that break, lag or repeat.

After a disconnect a watcher lists again, and late changes still come in order. Only `duplicate` breaks the promises of the
port.
"""

import contextlib
from collections import deque
from collections.abc import AsyncGenerator, Callable
from typing import Literal, TypeVar

import msgspec

from kube_job_runner.adapters.inprocess.feeds import Feed, SeenT
from kube_job_runner.adapters.simulated.simulated_time import Schedule
from kube_job_runner.domain.freshness import WatchTimes
from kube_job_runner.ports import SeenJob, SeenPod, WatchEvent

Operation = Literal["create", "find", "look", "delete", "logs", "log_stream", "list", "remove"]
ResultT = TypeVar("ResultT")


class Fault(msgspec.Struct, frozen=True, kw_only=True):
    """The fault of one call: it takes `delay_seconds`, and raises `error` before, or `after`, it takes effect."""

    error: Exception | None = None
    after: bool = False
    delay_seconds: float = 0.0


class Faults:
    """The faults that wait for calls. If `choose` is set, it is asked first at every call, for seeded chaos."""

    def __init__(self, schedule: Schedule) -> None:
        self._schedule = schedule
        self._waiting: dict[str, deque[Fault]] = {}
        self.choose: Callable[[Operation], Fault | None] | None = None

    def add(self, operation: Operation, fault: Fault, *, times: int) -> None:
        self._waiting.setdefault(operation, deque()).extend([fault] * times)

    async def call(self, operation: Operation, act: Callable[[], ResultT]) -> ResultT:
        """Do a call, with its fault if it has one."""
        fault = self.choose(operation) if self.choose is not None else None
        waiting = self._waiting.get(operation)
        if fault is None and waiting:
            fault = waiting.popleft()
        if fault is None:
            return act()
        if fault.delay_seconds:
            await self._schedule.sleep(fault.delay_seconds)
        if fault.error is not None and not fault.after:
            raise fault.error
        result = act()
        if fault.error is not None:
            raise fault.error
        return result


class FaultyFeed(Feed[SeenT]):
    """A feed whose changes can be held back, late or doubled, and whose lists can be slow."""

    def __init__(self, schedule: Schedule) -> None:
        super().__init__()
        self._schedule = schedule
        self._held: list[SeenT] | None = None
        self.delay_seconds = 0.0
        self.duplicate = False
        self.list_seconds = 0.0

    def hold(self) -> None:
        """Hold all changes back until `release`, as a half-open connection does."""
        if self._held is None:
            self._times.current(self._schedule.clock.monotonic())
            self._held = []

    def times(self, now: float) -> WatchTimes:
        """Return when this feed was watched: not while its changes are held back."""
        return self._times if self._held is not None else super().times(now)

    def release(self) -> None:
        if self._held is not None:
            self._times.interrupted()
            self._times.current(self._schedule.clock.monotonic())
        held, self._held = self._held or [], None
        for seen in held:
            self.announce(seen)

    def relist(self) -> None:
        """Disconnect every watcher. Changes that were held back are lost."""
        self._held = None
        self._times.interrupted()
        super().relist()

    def announce(self, seen: SeenT) -> None:
        if self._held is not None:
            self._held.append(seen)
        elif self.delay_seconds:
            self._schedule.after(self.delay_seconds, lambda: self.push(seen))
        else:
            self.push(seen)

    async def watch(self) -> AsyncGenerator[WatchEvent, None]:
        """Yield as any feed does; while `duplicate` is set, every sight twice."""
        async with contextlib.aclosing(super().watch()) as events:
            async for event in events:
                yield event
                if self.duplicate and isinstance(event, SeenJob | SeenPod):
                    yield event

    async def list_pause(self) -> None:
        """Wait for the time of a slow list, after its state was read."""
        if self.list_seconds:
            await self._schedule.sleep(self.list_seconds)
