"""Group commit: batches within their limits, waits only where every item can wait, and errors for the right caller."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from kube_job_runner.domain.errors import TemporaryError
from kube_job_runner.services.group_commit import GroupCommit

pytestmark = [pytest.mark.asyncio, pytest.mark.looptime]


class Store:
    """Keeps the committed batches and the time of each; `errors` are raised by the next commits."""

    def __init__(self) -> None:
        self.batches: list[list[int]] = []
        self.times: list[float] = []
        self.errors: list[Exception] = []

    async def commit(self, items: list[int]) -> list[str]:
        self.times.append(asyncio.get_running_loop().time())
        await asyncio.sleep(0.1)
        if self.errors:
            raise self.errors.pop(0)
        self.batches.append(items)
        return [f"stored {item}" for item in items]


def group(store: Store, **options: Any) -> GroupCommit[int, str]:
    return GroupCommit(store.commit, name="test", **{"batch_max": 4, "committers": 1, **options})


async def test_a_batch_keeps_to_both_limits_but_always_holds_one_item() -> None:
    store = Store()
    commits = group(store, batch_max_bytes=10, size_bytes=lambda item: item)
    outcomes = await asyncio.gather(*(commits.add(item) for item in (12, 5, 5, 1, 1, 1, 1, 1)))
    assert store.batches == [[12], [5, 5], [1, 1, 1, 1], [1]]
    assert outcomes[:2] == ["stored 12", "stored 5"]
    assert not commits.busy


async def test_items_that_can_wait_are_gathered_after_a_recent_commit() -> None:
    store = Store()
    commits = group(store, gather_seconds=1.0, can_wait=lambda item: item > 0)
    await commits.add(1)
    first = store.times[0]
    await asyncio.gather(commits.add(2), commits.add(3))
    await asyncio.gather(commits.add(4), commits.add(-5))
    assert store.batches == [[1], [2, 3], [4, -5]]
    assert store.times[1] - first == pytest.approx(1.0)
    assert store.times[2] - store.times[1] == pytest.approx(0.1), "one of them cannot wait"


async def test_a_temporary_error_belongs_to_the_batch_and_any_other_to_its_item() -> None:
    store = Store()
    commits = group(store)
    store.errors = [TemporaryError("unreachable")]
    answers = await asyncio.gather(commits.add(1), commits.add(2), return_exceptions=True)
    assert [str(answer) for answer in answers] == ["unreachable", "unreachable"]
    store.errors = [ValueError("bad batch"), ValueError("bad item")]
    answers = await asyncio.gather(commits.add(1), commits.add(2), return_exceptions=True)
    assert [str(answer) for answer in answers] == ["bad item", "stored 2"]


async def test_a_cancelled_committer_tells_its_callers() -> None:
    store = Store()
    commits = group(store)
    caller = asyncio.create_task(commits.add(1))
    await asyncio.sleep(0.05)
    for task in asyncio.all_tasks():
        if task.get_name() == "test":
            task.cancel()
    with pytest.raises(TemporaryError, match="the server is stopping"):
        await caller


async def test_an_item_never_waits_for_a_committer_that_has_just_ended() -> None:
    async def commit(items: list[int]) -> list[int]:
        return items  # at once, so that a caller is back before its committer's task is seen to be done

    commits: GroupCommit[int, int] = GroupCommit(commit, name="test", batch_max=10, committers=1)

    async def caller() -> None:
        for number in range(3):
            assert await commits.add(number) == number

    async with asyncio.timeout(5):
        await asyncio.gather(*(caller() for _ in range(3)))
    assert not commits.busy
