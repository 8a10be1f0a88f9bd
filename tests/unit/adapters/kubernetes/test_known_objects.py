"""Delays, the bounded buffer, and what an informer remembers."""

from __future__ import annotations

import asyncio
from typing import Any
from uuid import UUID

import pytest

from kube_job_runner.adapters.kubernetes.decode import Item
from kube_job_runner.adapters.kubernetes.event_buffer import Backoff, Buffer
from kube_job_runner.adapters.kubernetes.known_objects import Known
from kube_job_runner.domain.facts import PodFacts
from kube_job_runner.ports import SeenPod


def test_delays_double_up_to_the_most_and_begin_again() -> None:
    backoff = Backoff(first_seconds=0.1, most_seconds=3.0)
    delays = [backoff.next() for _ in range(2000)]
    for count, delay in enumerate(delays):
        most = min(0.1 * 2**count, 3.0) if count < 30 else 3.0
        assert most / 2 <= delay <= most
    backoff.reset()
    assert backoff.next() <= 0.1


@pytest.mark.asyncio
async def test_a_buffer_makes_writers_wait_and_keeps_the_order() -> None:
    buffer: Buffer[int] = Buffer(2)
    told: list[int] = []

    async def write() -> None:
        for number in range(10):
            assert await buffer.room()
            told.append(number)
            buffer.put([number])

    writer = asyncio.create_task(write())
    for number in range(10):
        assert await buffer.get() == number
        assert len(told) <= number + 3
    await writer


@pytest.mark.asyncio
async def test_a_closed_buffer_gives_what_it_holds_and_releases_its_writers() -> None:
    buffer: Buffer[int] = Buffer(1)
    buffer.put([1, 2])
    waiting = asyncio.create_task(buffer.room())
    await asyncio.sleep(0)
    buffer.close()
    assert await waiting is False
    assert [await buffer.get(), await buffer.get(), await buffer.get()] == [1, 2, None]


@pytest.mark.asyncio
async def test_a_reader_waits_for_the_close() -> None:
    buffer: Buffer[int] = Buffer(1)
    reading = asyncio.create_task(buffer.get())
    await asyncio.sleep(0)
    buffer.put([])
    await asyncio.sleep(0)
    assert not reading.done()
    buffer.close()
    assert await reading is None


def _item(uid: str, version: int, *, phase: str = "Pending", gone: bool = False) -> Item[PodFacts]:
    facts = PodFacts(uid=uid, resource_version=version, phase=phase, gone=gone)
    return Item(facts, UUID(int=1), 1, {}, {})


def _known() -> Known[PodFacts]:
    return Known(lambda job_id, attempt, facts: SeenPod(job_id=job_id, attempt=attempt, facts=facts))


def _short(events: Any) -> list[tuple[str, int, bool]]:
    return [(event.facts.uid, event.facts.resource_version, event.facts.gone) for event in events]


def test_a_list_tells_everything_each_time_and_then_what_vanished() -> None:
    known = _known()
    for _ in range(2):
        known.begin_list()
        assert _short(known.listed([_item("a", 1), _item("b", 2)])) == [("a", 1, False), ("b", 2, False)]
        assert _short(known.end_list(5)) == []
    known.begin_list()
    assert _short(known.listed([_item("b", 2)])) == [("b", 2, False)]
    assert _short(known.end_list(6)) == [("a", 1, True)]
    assert _short(known.end_list(7)) == []


def test_a_watch_tells_changes_once_and_in_order_of_version() -> None:
    known = _known()
    assert _short(known.seen(_item("a", 1))) == [("a", 1, False)]
    assert _short(known.seen(_item("a", 3))) == []  # only the version changed
    assert _short(known.seen(_item("a", 2, phase="Running"))) == []  # older than version 3
    assert _short(known.seen(_item("a", 4, phase="Running"))) == [("a", 4, False)]
    assert _short(known.seen(_item("a", 5, phase="Running", gone=True))) == [("a", 5, True)]
    assert known.newest_version == 5


def test_an_older_list_entry_does_not_replace_newer_facts() -> None:
    known = _known()
    list(known.seen(_item("a", 9, phase="Succeeded")))
    known.begin_list()
    (event,) = known.listed([_item("a", 3, phase="Running")])
    assert isinstance(event, SeenPod)
    assert event.facts.phase == "Succeeded"


def test_what_is_nobodys_is_counted_and_not_told() -> None:
    known = _known()
    stranger: Item[PodFacts] = Item(PodFacts(uid="x"), UUID(int=0), 1, {}, {})
    unnumbered: Item[PodFacts] = Item(PodFacts(uid="x"), UUID(int=1), 0, {}, {})
    assert _short(known.seen(stranger)) == _short(known.listed([unnumbered])) == []
    assert known.foreign == 2
