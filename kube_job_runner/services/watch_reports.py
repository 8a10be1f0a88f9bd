"""Reports until when everything is known of a kind, and when nobody watched it: a small row per namespace, every few seconds.

Something is known to those who decide once its message is sent, so a report is bounded by the oldest observation that waits.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Mapping

from kube_job_runner import ports
from kube_job_runner.domain.errors import PermanentError, TemporaryError
from kube_job_runner.domain.freshness import WatchReport, WatchTimes
from kube_job_runner.telemetry import loggers

log = loggers.get_logger(__name__)

REPORT_SECONDS = 3.0
ALIVE_SECONDS = 9.0
"""After this time a watcher reports even that nothing is new: so it is known that somebody watches."""

Times = Callable[[], Mapping[str, WatchTimes]]


class WatchReporter:
    """Reports the watches of one kind; `times` returns them by namespace."""

    def __init__(self, kind: str, times: Times, *, store: ports.ObserveStore, clock: ports.Clock) -> None:
        self._kind = kind
        self._times = times
        self._store = store
        self._clock = clock
        self._waiting: deque[float] = deque()
        self._told: dict[str, tuple[float, bool]] = {}
        self._alive_at = clock.monotonic() - ALIVE_SECONDS

    def read(self) -> None:
        """Note that an observation was read; it waits until it is `sent`."""
        self._waiting.append(self._clock.monotonic())

    def sent(self, count: int) -> None:
        """Note that the oldest of the observations that waited were sent."""
        for _ in range(min(count, len(self._waiting))):
            self._waiting.popleft()

    async def run(self) -> None:
        """Report until cancelled.

        Raises:
            LeaseLost: another process watches now.
        """
        while True:
            await asyncio.sleep(REPORT_SECONDS)
            await self.report()

    async def report(self) -> None:
        """Report the watches of which something new is known. What is not stored now is in the next report."""
        now = self._clock.monotonic()
        known = self._waiting[0] if self._waiting else None
        reports = [
            report
            for namespace, times in self._times().items()
            if (report := times.report(namespace, now=now, known=known)) is not None
        ]
        due = now - self._alive_at >= ALIVE_SECONDS
        new = [each for each in reports if due or self._told.get(each.namespace) != _mark(each, now)]
        if not new:
            return
        try:
            await self._store.record_watches(self._kind, new)
        except (TemporaryError, PermanentError) as error:
            log.warning(
                "the times of a watch were not stored", action="watch.report", kind=self._kind, error=str(error)
            )
            return
        if due:
            self._alive_at = now
        self._told.update((each.namespace, _mark(each, now)) for each in new)


def _mark(report: WatchReport, now: float) -> tuple[float, bool]:
    return round(now - report.known, 3), report.broken
