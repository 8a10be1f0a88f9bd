"""Retention: each kind by its own age, in bounded batches, with pauses that leave room for vacuum."""

from __future__ import annotations

import datetime as dt
from typing import Any

import pytest

from kube_job_runner.ports import HistoryRemoved, LogsExpired
from kube_job_runner.services import sweep
from kube_job_runner.services.sweep import BATCH, Retention
from kube_job_runner.settings.groups import RetentionSettings

pytestmark = pytest.mark.asyncio
AGES = RetentionSettings(
    jobs_seconds=1, transitions_seconds=2, logs_seconds=3, dead_letters_seconds=4, idempotency_seconds=5
)


class World:
    """A store that keeps what it was asked, and a clock; each call takes `took_seconds`."""

    def __init__(self) -> None:
        self.time = 100.0
        self.took_seconds = 0.0
        self.asked: dict[str, float] = {}
        self.left: dict[str, int] = {}
        self.behind: str | None = None

    def now(self) -> dt.datetime:
        return dt.datetime.now(dt.UTC)

    def monotonic(self) -> float:
        return self.time

    def _remove(self, kind: str, older_than_seconds: float, limit: int) -> int:
        self.asked[kind] = older_than_seconds
        self.time += self.took_seconds
        removed = min(limit, self.left.get(kind, 0))
        self.left[kind] = self.left.get(kind, 0) - removed
        return removed

    async def expire_idempotency_keys(self, *, older_than_seconds: float, limit: int) -> int:
        return self._remove("keys", older_than_seconds, limit)

    async def delete_old_dead_letters(self, *, older_than_seconds: float, limit: int) -> int:
        return self._remove("letters", older_than_seconds, limit)

    async def delete_old_jobs(self, *, older_than_seconds: float, limit: int) -> int:
        return self._remove("jobs", older_than_seconds, limit)

    async def delete_old_logs(self, *, older_than_seconds: float, limit: int) -> int:
        return self._remove("orphaned chunks", older_than_seconds, limit)

    async def expire_logs(self, *, older_than_seconds: float, limit: int) -> LogsExpired:
        return LogsExpired(logs=self._remove("logs", older_than_seconds, limit), chunks=0)

    async def delete_old_transitions(self, *, older_than_seconds: float, limit: int) -> HistoryRemoved:
        deleted = self._remove("history", older_than_seconds, limit)
        return HistoryRemoved(deleted=deleted, more=deleted >= limit)

    async def vacuum_behind(self) -> str | None:
        return self.behind


def made(world: Any) -> Retention:
    return Retention(store=world, logs=world, clock=world, settings=AGES)


async def test_each_kind_has_its_own_age_and_its_own_pace() -> None:
    world = World()
    swept = made(world)
    assert set(await swept.run_once()) == {
        "jobs",
        "transitions",
        "logs",
        "log_chunks",
        "dead_letters",
        "idempotency_keys",
    }
    assert world.asked == {"jobs": 1, "orphaned chunks": 1, "history": 2, "logs": 3, "letters": 4, "keys": 5}
    assert await swept.run_once() == {}, "not before its time"
    world.time += sweep.ROUND_SECONDS
    assert "transitions" not in await swept.run_once(), "the history is walked over less often"
    world.time += sweep.HISTORY_ROUND_SECONDS
    assert "transitions" in await swept.run_once()


@pytest.mark.parametrize("kind", ["keys", "letters", "logs", "jobs", "history", "orphaned chunks"])
async def test_a_full_batch_is_followed_by_a_pause_of_twice_its_time(kind: str) -> None:
    world = World()
    world.left[kind] = BATCH + 1
    world.took_seconds = 0.5
    swept = made(world)
    assert max((await swept.run_once()).values()) == BATCH
    took_seconds = world.time - 100.0
    assert await swept.run_once() == {}
    world.time += 2 * took_seconds - 0.01
    assert await swept.run_once() == {}
    world.time += 0.02
    assert max((await swept.run_once()).values()) == 1
    assert world.left[kind] == 0


async def test_while_vacuum_is_behind_it_goes_on_slowly() -> None:
    world = World()
    world.left["jobs"] = 3 * BATCH
    world.behind = "jobs"
    swept = made(world)
    await swept.run_once()
    world.time += sweep.PAUSE_MAX_SECONDS - 0.1
    assert await swept.run_once() == {}
    world.time += 0.2
    assert (await swept.run_once())["jobs"] == BATCH
