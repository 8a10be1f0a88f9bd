"""The loops of the sweeper: each has its own pace, and an error of one does not stop the other."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from kube_job_runner.components import sweeper
from kube_job_runner.domain.errors import DatabaseUnavailable
from kube_job_runner.settings.groups import SweepSettings
from kube_job_runner.telemetry import metrics

pytestmark = [pytest.mark.asyncio, pytest.mark.looptime]


class Rounds:
    """A sweeper that counts its rounds."""

    def __init__(self) -> None:
        self.sweeps = 0

    async def run_once(self) -> dict[str, int]:
        self.sweeps += 1
        return {}

    @staticmethod
    def more_to_do(_counts: dict[str, int]) -> bool:
        return False


class Comparisons:
    def __init__(self, *errors: Exception) -> None:
        self.errors = list(errors)
        self.rounds = 0

    async def run_once(self) -> None:
        self.rounds += 1
        if self.errors:
            raise self.errors.pop(0)


async def sweep_for(seconds: float, rounds: Rounds, comparisons: Comparisons | None) -> None:
    stop = asyncio.Event()
    running: Any = sweeper.run
    settings = SweepSettings(sweep_seconds=1.0, reconcile_seconds=600.0)
    task = asyncio.create_task(running(rounds, settings=settings, stop=stop, reconciler=comparisons))
    await asyncio.sleep(seconds)
    stop.set()
    await task


async def test_both_sweeps_have_their_own_pace_and_an_error_of_one_does_not_stop_the_other() -> None:
    before = metrics.reconcile_failures._value.get()
    rounds, comparisons = Rounds(), Comparisons(DatabaseUnavailable("away"), RuntimeError("a bug"))
    await sweep_for(3000, rounds, comparisons)
    assert 2400 < rounds.sweeps < 3800
    assert 5 <= comparisons.rounds <= 8, "once at the start, once a minute later, then every ten minutes"
    assert metrics.reconcile_failures._value.get() == before + 2


async def test_a_sweeper_alone() -> None:
    rounds = Rounds()
    await sweep_for(10, rounds, None)
    assert rounds.sweeps > 5
