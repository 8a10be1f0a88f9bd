"""The watch protocol that clusters in our own process share."""

from __future__ import annotations

import asyncio
import uuid

import pytest

from kube_job_runner.adapters.inprocess import feeds
from kube_job_runner.domain.facts import JobFacts
from kube_job_runner.ports import Listed, Relisting, SeenJob
from tests.support.clusters import Recorder

JOB = uuid.uuid4()


def seen(uid: str, version: int, *, deleting: bool = False, gone: bool = False) -> SeenJob:
    facts = JobFacts(uid=uid, resource_version=version, deleting=deleting, gone=gone)
    return SeenJob(job_id=JOB, attempt=1, facts=facts)


async def settle() -> None:
    for _ in range(10):
        await asyncio.sleep(0)


@pytest.mark.asyncio
async def test_a_list_repeats_what_is_known_because_its_reader_counts_what_it_holds() -> None:
    feed = feeds.Feed[SeenJob]()
    feed.publish(seen("a", 1))
    recorder = Recorder().follow(feed.watch())
    await settle()
    feed.relist()
    await settle()
    assert recorder.events == [Relisting(), seen("a", 1), Listed()] * 2
    await recorder.stop()


@pytest.mark.asyncio
async def test_a_change_of_the_version_alone_is_not_told_but_remembered() -> None:
    feed = feeds.Feed[SeenJob]()
    recorder = Recorder().follow(feed.watch())
    await settle()
    feed.publish(seen("a", 1))
    feed.publish(seen("a", 2))
    feed.publish(seen("a", 1, deleting=True))
    feed.publish(seen("a", 3, deleting=True))
    await settle()
    assert recorder.changes == [seen("a", 1), seen("a", 3, deleting=True)]
    await recorder.stop()


@pytest.mark.asyncio
async def test_gone_is_told_once() -> None:
    feed = feeds.Feed[SeenJob]()
    recorder = Recorder().follow(feed.watch())
    await settle()
    feed.publish(seen("a", 1))
    feed.publish(seen("a", 2, gone=True))
    feed.announce(seen("a", 2, gone=True))
    feed.announce(seen("never-seen", 3, gone=True))
    await settle()
    assert recorder.changes == [seen("a", 1), seen("a", 2, gone=True)]
    assert feed.objects == {}
    await recorder.stop()


@pytest.mark.asyncio
async def test_a_watcher_that_lags_too_far_lists_again_and_misses_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(feeds, "BACKLOG_MAX", 10)
    feed = feeds.Feed[SeenJob]()
    feed.publish(seen("old", 1))
    recorder = Recorder().follow(feed.watch())
    await settle()
    feed.publish(seen("old", 2, gone=True))
    for version in range(3, 30):
        feed.publish(seen(f"job-{version}", version))
    await settle()
    assert recorder.events.count(Relisting()) == 2
    held = {event.facts.uid: event.facts.gone for event in recorder.lists[1]}
    assert held == {"old": True} | {f"job-{version}": False for version in range(3, 30)}
    await recorder.stop()


@pytest.mark.asyncio
async def test_a_watcher_that_ends_is_forgotten() -> None:
    feed = feeds.Feed[SeenJob]()
    recorder = Recorder().follow(feed.watch())
    await settle()
    await recorder.stop()
    assert feed._watchers == []


@pytest.mark.asyncio
async def test_a_disconnect_in_the_middle_of_a_list_begins_another() -> None:
    feed = feeds.Feed[SeenJob]()
    feed.publish(seen("a", 1))
    feed.publish(seen("b", 2))
    events = feed.watch()
    assert await anext(events) == Relisting()
    assert await anext(events) == seen("a", 1)
    feed.relist()
    feed.publish(seen("a", 3, gone=True))
    rest = [await anext(events) for _ in range(5)]
    assert rest == [seen("b", 2), Relisting(), seen("b", 2), feeds.gone(seen("a", 1)), Listed()]
    await events.aclose()
