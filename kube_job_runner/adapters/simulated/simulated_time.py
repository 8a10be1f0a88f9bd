"""Simulated time: a clock that tests move, and a schedule of actions in one fixed order.

With a `SteppedClock`, a test moves time itself (`advance`), and every action happens at its exact time. With any other
clock, `run` does the actions when they are due, by the timers of the event loop (which may be virtual as well).
"""

import asyncio
import contextlib
import heapq
import itertools
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from kube_job_runner.ports import Clock

_ROUNDING_SECONDS = 1e-9
EPOCH = datetime(2026, 1, 1, tzinfo=UTC)


class SteppedClock:
    """A clock that moves only when a test moves it."""

    def __init__(self, start: datetime = EPOCH) -> None:
        self._start = start
        self._elapsed_seconds = 0.0

    def now(self) -> datetime:
        return self._start + timedelta(seconds=self._elapsed_seconds)

    def monotonic(self) -> float:
        """Return the sum of all moves in seconds."""
        return self._elapsed_seconds

    def move_to(self, monotonic_seconds: float) -> None:
        """Move to a later time. An earlier one is ignored."""
        self._elapsed_seconds = max(self._elapsed_seconds, monotonic_seconds)


class Schedule:
    """Actions by the time when they are due; at the same time, in the order in which they were planned."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self._heap: list[tuple[float, int, Callable[[], None]]] = []
        self._order = itertools.count()
        self._planned = asyncio.Event()

    def after(self, seconds: float, action: Callable[[], None]) -> None:
        """Plan an action. It never happens within this call, even with 0 seconds."""
        heapq.heappush(self._heap, (self.clock.monotonic() + seconds, next(self._order), action))
        self._planned.set()

    async def sleep(self, seconds: float) -> None:
        done = asyncio.get_running_loop().create_future()
        self.after(seconds, lambda: None if done.done() else done.set_result(None))
        await done

    @property
    def next_due(self) -> float | None:
        """When the next action is due, in the clock's monotonic seconds, or None."""
        return self._heap[0][0] if self._heap else None

    def fire_due(self) -> int:
        """Do all actions that are due, including new ones that these plan for now; return how many."""
        fired = 0
        while self._heap and self._heap[0][0] <= self.clock.monotonic() + _ROUNDING_SECONDS:
            heapq.heappop(self._heap)[2]()
            fired += 1
        return fired

    def advance(self, seconds: float) -> None:
        """Move the clock, and do each action on the way at its time.

        Raises:
            TypeError: the clock is not a `SteppedClock`.
        """
        clock = self.clock
        if not isinstance(clock, SteppedClock):
            raise TypeError(f"a {type(clock).__name__} cannot be advanced; give the simulated cluster a SteppedClock")
        end = clock.monotonic() + seconds
        while self._heap and self._heap[0][0] <= end + _ROUNDING_SECONDS:
            clock.move_to(self._heap[0][0])
            self.fire_due()
        clock.move_to(end)

    async def run(self) -> None:
        """Do each action when it is due, until cancelled."""
        while True:
            self.fire_due()
            self._planned.clear()
            due = self.next_due
            wait_seconds = None if due is None else max(0.0, due - self.clock.monotonic())
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(wait_seconds):
                    await self._planned.wait()
