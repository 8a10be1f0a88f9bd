"""The bounded buffer between the tasks of an informer and its consumer."""

from __future__ import annotations

import asyncio

import pytest

from kube_job_runner.adapters.kubernetes.event_buffer import Buffer


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
