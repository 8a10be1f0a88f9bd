"""Followers of one log: what they read after one change is read once, and nobody gets less than there is."""

from __future__ import annotations

import asyncio
import itertools
from collections import Counter
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import pytest

from kube_job_runner.domain.errors import TemporaryError
from kube_job_runner.domain.job import Attempt, Job
from kube_job_runner.domain.logs import chunks
from kube_job_runner.domain.states import State
from kube_job_runner.ports import LogKey, LogState
from kube_job_runner.services.change_hub import WOKEN_AT_ONCE, ChangeHub
from kube_job_runner.services.log_reading import LogRequest, LogService
from kube_job_runner.services.shared_reads import SharedReads
from tests.unit.web.fakes import FakeClock, FakeLogs, FakeStore, FakeWakeup

pytestmark = [pytest.mark.asyncio, pytest.mark.looptime]
ID = UUID("0199d1f2-7c00-7a3b-8c4d-5e6f708192a3")


class CountedLogs(FakeLogs):
    """Logs that take a moment to read, and count how often they are."""

    def __init__(self) -> None:
        super().__init__()
        self.reads: Counter[str] = Counter()
        self.chunk_bytes = 1000

    async def log_state(self, key: LogKey) -> LogState | None:
        self.reads["state"] += 1
        found = await super().log_state(key)
        await asyncio.sleep(0.001)
        return found

    async def read_chunks(self, *arguments: Any, **more: Any) -> list[chunks.Chunk]:
        self.reads["chunks"] += 1
        await asyncio.sleep(0.001)
        return await super().read_chunks(*arguments, **more)


async def follow(service: LogService) -> bytes:
    return b"".join([part async for part in await service.open(ID, LogRequest(follow=True))])


async def test_a_change_is_read_once_for_all_followers() -> None:
    store, logs, wakeup, clock = FakeStore(), CountedLogs(), FakeWakeup(), FakeClock()
    now = datetime(2026, 1, 15, 9, 30, tzinfo=UTC)
    store.jobs[ID] = Job(id=ID, name="j", created_at=now, due_at=now, state=State.RUNNING, attempt=1)
    store.attempts[ID] = [Attempt(job_id=ID, number=1, namespace="n", cluster_name="j-1", pod_name="p", started_at=now)]
    hub: ChangeHub[LogKey] = ChangeHub(logs.log_versions, wakeup, clock, topic="logs")
    service = LogService(store, logs, clock, hub=ChangeHub(store.versions, wakeup, clock), log_hub=hub)
    logs.print(ID, b"line 0\n")
    chunks.shared_body.cache_clear()
    followers = [asyncio.create_task(follow(service)) for _ in range(500)]
    await asyncio.sleep(0.5)
    assert hub.waiting == 500
    logs.reads.clear()
    for number in range(1, 4):
        logs.print(ID, b"line %d\n" % number)
        wakeup.hint()
        await asyncio.sleep(0.5)
        assert hub.waiting == 500
    logs.print(ID, b"line 4\n", status="stored")
    wakeup.hint()
    assert set(await asyncio.gather(*followers)) == {b"".join(b"line %d\n" % number for number in range(5))}
    assert logs.reads["state"] <= 20
    assert logs.reads["chunks"] <= 20
    assert chunks.shared_body.cache_info().misses <= 20


async def test_thousands_that_wait_are_woken_in_parts() -> None:
    store, wakeup = FakeStore(), FakeWakeup()
    now = datetime(2026, 1, 15, 9, 30, tzinfo=UTC)
    store.jobs[ID] = Job(id=ID, name="j", created_at=now, due_at=now)
    hub: ChangeHub[UUID] = ChangeHub(store.versions, wakeup, FakeClock())
    turns: list[int] = []
    begun = asyncio.Event()
    awake = 0

    async def wait() -> None:
        nonlocal awake
        await hub.wait_newer(ID, than=1, timeout_seconds=30)
        awake += 1
        begun.set()

    async def others() -> None:
        await begun.wait()
        while awake < 2000:
            turns.append(awake)
            await asyncio.sleep(0)

    waiting = [asyncio.create_task(wait()) for _ in range(2000)]
    await asyncio.sleep(0.01)
    assert hub.waiting == 2000
    beside = asyncio.create_task(others())
    store.change(ID, state=State.RUNNING)
    wakeup.hint()
    await asyncio.gather(*waiting, beside)
    steps = [later - earlier for earlier, later in itertools.pairwise(turns)]
    assert max(steps) <= 3 * WOKEN_AT_ONCE


async def test_chunks_are_never_older_than_the_state_before_them() -> None:
    logs = CountedLogs()
    logs.print(ID, b"first\n")
    shared, key = SharedReads(logs), (ID, 1)
    early = shared.after_look(1)
    assert len(await early.read_chunks(key, "main", from_seq=0, limit=4)) == 1
    logs.chunk_bytes = 6
    logs.print(ID, b"second\n" * 100, status="stored")
    late = shared.after_look(1)  # the same look, but this state says that the log is complete
    state = await late.log_state(key)
    assert state is not None
    assert state.done
    text = await late.read_chunks(key, "main", from_seq=0, limit=4)
    assert sum(chunk.size_bytes for chunk in text) > len(b"first\n")


async def test_a_read_that_failed_is_not_shared_with_the_next_reader() -> None:
    logs = CountedLogs()
    logs.print(ID, b"first\n")
    reads = SharedReads(logs).after_look(1)
    logs.failure = TemporaryError("away")
    with pytest.raises(TemporaryError):
        await reads.read_chunks((ID, 1), "main", from_seq=0, limit=4)
    logs.failure = None
    assert await reads.read_chunks((ID, 1), "main", from_seq=0, limit=4)
