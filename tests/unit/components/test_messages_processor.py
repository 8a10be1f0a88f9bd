"""When a messages-processor takes its next batch: one pipeline at a time, a small batch not followed by another at once."""

from __future__ import annotations

import asyncio
from typing import Any, cast

import pytest

from kube_job_runner.components.messages_processor import BUSY, BUSY_PACE_SECONDS, FULL_ENOUGH, PACE_SECONDS, Pace
from kube_job_runner.services.pipeline.batch import Batch
from kube_job_runner.services.pipeline.processor import Processor

pytestmark = [pytest.mark.asyncio, pytest.mark.looptime]


class Queue:
    """Stands for a processor: gives batches of these sizes, and notes when each was taken."""

    def __init__(self, *sizes: int) -> None:
        self.sizes = list(sizes)
        self.taken_at: list[float] = []
        self.taking = 0

    async def take(self) -> Batch | None:
        self.taking += 1
        assert self.taking == 1, "two pipelines take at once"
        await asyncio.sleep(0)
        self.taking -= 1
        self.taken_at.append(asyncio.get_running_loop().time())
        size = self.sizes.pop(0)
        return Batch(deliveries=cast("Any", [object()] * size)) if size else None


@pytest.mark.parametrize(
    ("size", "pause_seconds"),
    [(0, 0.0), (1, PACE_SECONDS), (BUSY - 1, PACE_SECONDS), (BUSY, BUSY_PACE_SECONDS), (FULL_ENOUGH, 0.0)],
)
async def test_how_soon_the_next_batch_is_taken(size: int, pause_seconds: float) -> None:
    queue, stop, pace = Queue(size, 1), asyncio.Event(), Pace()
    await asyncio.gather(*(pace.take(cast("Processor", queue), stop=stop) for _ in range(2)))
    first, second = queue.taken_at
    assert second - first == pytest.approx(pause_seconds, abs=0.001)


async def test_nothing_is_taken_once_it_is_to_stop() -> None:
    queue, stop, pace = Queue(1, 1), asyncio.Event(), Pace()
    assert await pace.take(cast("Processor", queue), stop=stop) is not None
    stop.set()
    assert await pace.take(cast("Processor", queue), stop=stop) is None
    assert queue.sizes == [1]
