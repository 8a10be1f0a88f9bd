"""The reports of a watcher: what was read counts as known once it is sent, and an outage of the store loses no report."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from kube_job_runner.domain.errors import DatabaseUnavailable
from kube_job_runner.domain.freshness import WatchReport, WatchTimes
from kube_job_runner.services.watch_reports import ALIVE_SECONDS, REPORT_SECONDS, WatchReporter
from tests.support.clocks import LoopClock

pytestmark = [pytest.mark.asyncio, pytest.mark.looptime]


class Store:
    """It remembers the reports, or is away."""

    def __init__(self) -> None:
        self.away = False
        self.reports: list[WatchReport] = []

    async def known_cluster_jobs(self) -> list[object]:
        raise NotImplementedError

    async def record_watches(self, kind: str, reports: Sequence[WatchReport]) -> None:
        assert kind == "pod"
        if self.away:
            raise DatabaseUnavailable("away")
        self.reports += reports


class World:
    def __init__(self) -> None:
        self.clock = LoopClock()
        self.store = Store()
        self.times = WatchTimes()
        self.reporter = WatchReporter("pod", lambda: {"ns": self.times}, store=self.store, clock=self.clock)  # type: ignore[arg-type]

    def current(self) -> None:
        self.times.current(self.clock.monotonic())

    async def ages(self) -> list[float]:
        """Report, and return how old what is known is in each new report."""
        before = len(self.store.reports)
        await self.reporter.report()
        return [round(report.known, 3) for report in self.store.reports[before:]]


async def test_nothing_is_reported_before_a_watch_begins_and_little_while_nothing_is_new() -> None:
    world = World()
    assert await world.ages() == []
    world.current()
    assert await world.ages() == [0]
    await asyncio.sleep(ALIVE_SECONDS - 1)
    assert await world.ages() == [], "nothing new is known"
    world.times.interrupted()
    assert await world.ages() == [ALIVE_SECONDS - 1]
    assert world.store.reports[-1].broken
    await asyncio.sleep(1)
    assert await world.ages() == [ALIVE_SECONDS], "it tells that it is alive"


async def test_what_waits_to_be_sent_is_not_known_yet() -> None:
    world = World()
    world.current()
    await asyncio.sleep(10)
    world.reporter.read()
    world.reporter.read()
    await asyncio.sleep(10)
    world.current()
    world.reporter.sent(1)
    assert await world.ages() == [10]
    world.reporter.sent(1)
    assert await world.ages() == [0]


async def test_a_report_that_was_not_stored_comes_again() -> None:
    world = World()
    world.current()
    world.store.away = True
    assert await world.ages() == []
    world.store.away = False
    await asyncio.sleep(1)
    assert await world.ages() == [1]


async def test_it_reports_every_few_seconds() -> None:
    world = World()
    task = asyncio.create_task(world.reporter.run())
    for _ in range(10):
        world.current()
        await asyncio.sleep(REPORT_SECONDS)
    task.cancel()
    assert 9 <= len(world.store.reports) <= 10
