"""What can be made to go wrong: calls that fail, or that work and say they failed; watches that break, lag or repeat.

A watcher that was cut off lists again, a late event is still in order; only `duplicate` goes beyond what the port allows.
"""

from __future__ import annotations

import contextlib
from collections import deque
from collections.abc import AsyncGenerator, Callable
from typing import Literal, TypeVar

import msgspec

from kube_job_runner.adapters.inprocess.feeds import Feed, SeenT
from kube_job_runner.adapters.simulated.simulated_time import Timeline
from kube_job_runner.ports import SeenJob, SeenPod, WatchEvent

Operation = Literal["create", "find", "delete", "logs", "log_stream", "list", "remove"]
ResultT = TypeVar("ResultT")


class Fault(msgspec.Struct, frozen=True, kw_only=True):
    """What happens to one call: it takes `delay_seconds`, and fails with `error` before or `after` it took effect."""

    error: Exception | None = None
    after: bool = False
    delay_seconds: float = 0.0


class Faults:
    """The faults waiting for calls. `choose`, when set, is asked first at every call: for seeded chaos."""

    def __init__(self, timeline: Timeline) -> None:
        self._timeline = timeline
        self._waiting: dict[str, deque[Fault]] = {}
        self.choose: Callable[[Operation], Fault | None] | None = None

    def add(self, operation: Operation, fault: Fault, *, times: int) -> None:
        """Let the next `times` calls of an operation meet a fault."""
        self._waiting.setdefault(operation, deque()).extend([fault] * times)

    async def call(self, operation: Operation, act: Callable[[], ResultT]) -> ResultT:
        """Do a call as its fault has it."""
        fault = self.choose(operation) if self.choose is not None else None
        waiting = self._waiting.get(operation)
        if fault is None and waiting:
            fault = waiting.popleft()
        if fault is None:
            return act()
        if fault.delay_seconds:
            await self._timeline.sleep(fault.delay_seconds)
        if fault.error is not None and not fault.after:
            raise fault.error
        result = act()
        if fault.error is not None:
            raise fault.error
        return result


class FaultyFeed(Feed[SeenT]):
    """A feed whose news can be held back, come late or come twice, and whose lists can be slow."""

    def __init__(self, timeline: Timeline) -> None:
        super().__init__()
        self._timeline = timeline
        self._held: list[SeenT] | None = None
        self.delay_seconds = 0.0
        self.duplicate = False
        self.list_seconds = 0.0

    def hold(self) -> None:
        """Tell the watchers nothing more until `release`: a connection that is half open."""
        if self._held is None:
            self._held = []

    def release(self) -> None:
        """Tell what was held back."""
        held, self._held = self._held or [], None
        for seen in held:
            self.announce(seen)

    def relist(self) -> None:
        """Cut every watcher off; what was held back for them is lost."""
        self._held = None
        super().relist()

    def announce(self, seen: SeenT) -> None:
        """Tell every watcher, now or later."""
        if self._held is not None:
            self._held.append(seen)
        elif self.delay_seconds:
            self._timeline.after(self.delay_seconds, lambda: self.tell(seen))
        else:
            self.tell(seen)

    async def watch(self) -> AsyncGenerator[WatchEvent, None]:
        """Yield as any feed does, but everything that was seen twice while `duplicate` is set."""
        async with contextlib.aclosing(super().watch()) as events:
            async for event in events:
                yield event
                if self.duplicate and isinstance(event, SeenJob | SeenPod):
                    yield event

    async def list_pause(self) -> None:
        """Let a list take its time, after its state was read."""
        if self.list_seconds:
            await self._timeline.sleep(self.list_seconds)
