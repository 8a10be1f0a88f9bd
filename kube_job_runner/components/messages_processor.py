"""messages-processor: reads the queue; creates and deletes cluster jobs; the only writer of a job's state after submit."""

from __future__ import annotations

import asyncio

from kube_job_runner.components import loops
from kube_job_runner.services.process import Processor


async def run(processor: Processor, *, pipelines: int, stop: asyncio.Event, drain_seconds: float) -> None:
    """Work through the queue with so many batches at once, until `stop`; then finish the batches begun."""

    async def one_batch() -> float:
        await processor.run_once()
        return 0.0

    async def pipeline() -> None:
        await loops.repeat(one_batch, stop=stop, what="messages-processor")

    async def all_pipelines() -> None:
        await asyncio.gather(*(pipeline() for _ in range(pipelines)))

    await loops.run_until_stopped(all_pipelines(), stop=stop, drain_seconds=drain_seconds)
