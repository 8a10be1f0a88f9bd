"""Standby, leader, and standby again: what each change of hands does to the work."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from kube_job_runner.components.leader_loop import Leadership
from kube_job_runner.domain.errors import DatabaseUnavailable, LeaseLost
from kube_job_runner.ports import Fence
from kube_job_runner.telemetry import metrics

pytestmark = [pytest.mark.asyncio, pytest.mark.looptime]
LEASE_SECONDS = 9.0


class FakeLeases:
    """One lease. `held_by_another` and `away` are set by the test."""

    def __init__(self) -> None:
        self.epoch = 0
        self.held_by_another = False
        self.away = False
        self.asked = self.renewed = 0
        self.released: list[int] = []

    async def acquire(self, component: str, *, holder: str, lease_seconds: float) -> Fence | None:
        self.asked += 1
        self._answer()
        if self.held_by_another:
            return None
        self.epoch += 1
        return Fence(component=component, epoch=self.epoch)

    async def renew(self, fence: Fence, *, lease_seconds: float) -> None:
        self._answer()
        if self.held_by_another:
            raise LeaseLost
        self.renewed += 1

    async def release(self, fence: Fence) -> None:
        self._answer()
        self.released.append(fence.epoch)

    def _answer(self) -> None:
        if self.away:
            raise DatabaseUnavailable("away")


class Play:
    """A leadership at work. `terms` are the epochs of the terms that began, `over` of those that ended."""

    def __init__(self, work: Callable[[Fence], Awaitable[None]] | None = None) -> None:
        self.leases = FakeLeases()
        self.stop = asyncio.Event()
        self.terms: list[int] = []
        self.over: list[int] = []
        self.leader = Leadership("sweeper", self.leases, holder="me", lease_seconds=LEASE_SECONDS)
        self._work = work or self._until_stopped

    def begin(self) -> asyncio.Task[None]:
        return asyncio.create_task(self.leader.run(self._one_term, stop=self.stop))

    async def end(self, task: asyncio.Task[None]) -> None:
        self.stop.set()
        await asyncio.wait_for(task, 60)

    async def _one_term(self, fence: Fence) -> None:
        self.terms.append(fence.epoch)
        try:
            await self._work(fence)
        finally:
            self.over.append(fence.epoch)

    async def _until_stopped(self, _fence: Fence) -> None:
        await self.stop.wait()


def held() -> float:
    return metrics.lease_held.labels("sweeper")._value.get()


async def test_a_leader_renews_three_times_in_a_lease_and_gives_it_back_when_it_stops() -> None:
    play = Play()
    task = play.begin()
    await asyncio.sleep(LEASE_SECONDS * 10 + 0.5)
    assert (play.terms, play.leases.renewed, play.leader.standing, held()) == ([1], 30, "leader, epoch 1", 1)
    await play.end(task)
    assert (play.over, play.leases.released, play.leader.standing, held()) == ([1], [1], "standby", 0)


async def test_a_standby_asks_about_once_a_second_and_leads_when_it_may() -> None:
    play = Play()
    play.leases.held_by_another = True
    task = play.begin()
    await asyncio.sleep(100)
    assert 75 <= play.leases.asked <= 135
    assert (play.terms, play.leader.standing, held()) == ([], "standby", 0)
    play.leases.held_by_another = False
    await asyncio.sleep(1.5)
    assert play.terms == [1]
    await play.end(task)


async def test_a_standby_stops_at_once() -> None:
    play = Play()
    play.leases.held_by_another = True
    task = play.begin()
    await asyncio.sleep(10)
    before = asyncio.get_running_loop().time()
    await play.end(task)
    assert asyncio.get_running_loop().time() == before
    assert play.leases.released == []


async def test_a_refused_renewal_ends_the_term_and_the_next_begins_anew() -> None:
    play = Play()
    task = play.begin()
    await asyncio.sleep(1)
    play.leases.held_by_another = True
    await asyncio.sleep(LEASE_SECONDS / 3)
    assert (play.terms, play.over, held()) == ([1], [1], 0)
    play.leases.held_by_another = False
    await asyncio.sleep(2)
    assert (play.terms, held()) == ([1, 2], 1)
    await play.end(task)


async def test_a_refused_write_ends_the_term_before_the_next_renewal() -> None:
    refused = asyncio.Event()

    async def work(_fence: Fence) -> None:
        await refused.wait()
        raise LeaseLost

    play = Play(work)
    task = play.begin()
    await asyncio.sleep(1)
    play.leases.held_by_another = True
    refused.set()
    await asyncio.sleep(0.01)
    assert (play.over, play.leases.renewed, play.leader.standing) == ([1], 0, "standby")
    await play.end(task)


async def test_a_database_that_is_away_does_not_end_a_term() -> None:
    play = Play()
    task = play.begin()
    await asyncio.sleep(1)
    play.leases.away = True
    await asyncio.sleep(LEASE_SECONDS * 20)
    assert (play.terms, play.over) == ([1], [])
    play.leases.away = False
    await asyncio.sleep(LEASE_SECONDS)
    assert (play.terms, play.over) == ([1], [])
    assert play.leases.renewed >= 2
    await play.end(task)


async def test_a_database_that_is_away_at_the_start_is_waited_for() -> None:
    play = Play()
    play.leases.away = True
    task = play.begin()
    await asyncio.sleep(60)
    play.leases.away = False
    await asyncio.sleep(6)
    assert play.terms == [1]
    await play.end(task)


async def test_a_bug_ends_the_component_and_hands_over() -> None:
    async def work(_fence: Fence) -> None:
        raise RuntimeError("a bug")

    play = Play(work)
    with pytest.raises(RuntimeError, match="a bug"):
        await play.begin()
    assert (play.leases.released, held()) == ([1], 0)


async def test_a_lease_that_cannot_be_given_back_runs_out() -> None:
    play = Play()
    task = play.begin()
    await asyncio.sleep(1)
    play.leases.away = True
    await play.end(task)
    assert (play.over, play.leases.released) == ([1], [])


async def test_what_goes_wrong_while_a_term_is_being_ended_does_not_end_the_component() -> None:
    async def work(_fence: Fence) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            raise RuntimeError("a bug on the way out")

    play = Play(work)
    task = play.begin()
    await asyncio.sleep(1)
    play.leases.held_by_another = True
    await asyncio.sleep(LEASE_SECONDS)
    assert (play.over, task.done()) == ([1], False)
    await play.end(task)


async def test_a_component_that_is_cancelled_ends_its_work_and_hands_over() -> None:
    play = Play()
    task = play.begin()
    await asyncio.sleep(1)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert (play.over, play.leases.released, held()) == ([1], [1], 0)
