"""messages-processor: reads the queue; creates and deletes cluster jobs; the only writer of a job's state after submit."""

from __future__ import annotations

import asyncio
import time

from kube_job_runner import telemetry
from kube_job_runner.components import loops
from kube_job_runner.services.process import Processor

PACE_SECONDS = 0.05
RUSH_PACE_SECONDS = 0.15
RUSH = 12  # messages in a small batch that say that more are on their way
FULL_ENOUGH = 100  # messages: a batch of so many is worth its cost


async def run(processor: Processor, *, pipelines: int, stop: asyncio.Event, drain_seconds: float) -> None:
    """Work through the queue with so many batches at once, until `stop`; then finish the batches begun."""

    async def one_batch() -> float:
        began = time.monotonic()
        count = await processor.run_once()
        if not 0 < count < FULL_ENOUGH:
            return 0.0
        # A small batch is not followed by another at once: what comes meanwhile is worked on together, at the same cost.
        pace_seconds = RUSH_PACE_SECONDS if count >= RUSH else PACE_SECONDS
        return max(0.0, pace_seconds - (time.monotonic() - began))

    async def pipeline() -> None:
        await loops.repeat(one_batch, stop=stop, what="messages-processor")

    async def all_pipelines() -> None:
        await asyncio.gather(*(pipeline() for _ in range(pipelines)))

    telemetry.pipelines.set(pipelines)
    await loops.run_until_stopped(all_pipelines(), stop=stop, drain_seconds=drain_seconds)
