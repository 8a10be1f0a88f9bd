"""messages-processor: reads the queue, creates and deletes cluster jobs, and is the only writer of states after the submit."""

import asyncio

from kube_job_runner.components import loops
from kube_job_runner.services.pipeline.batch import Batch
from kube_job_runner.services.pipeline.processor import Processor
from kube_job_runner.telemetry import metrics

PACE_SECONDS = 0.05
BUSY_PACE_SECONDS = 0.3
BUSY = 12  # messages: a small batch with this many means that more follow
FULL_ENOUGH = 100  # messages: the next batch need not wait for more


class Pace:
    """Lets one pipeline at a time take a batch, and delays the batch after a small one.

    The messages that arrive during the delay share one batch, at little more than the cost of one message.
    """

    def __init__(self) -> None:
        self._taking = asyncio.Lock()
        self._next_at = 0.0

    async def take(self, processor: Processor, *, stop: asyncio.Event) -> Batch | None:
        """Return the next batch, or None when there is none."""
        async with self._taking:
            await loops.sleep_unless_stopped(self._next_at - asyncio.get_running_loop().time(), stop)
            if stop.is_set():
                return None
            batch = await processor.take()
            count = len(batch.deliveries) if batch is not None else 0
            if 0 < count < FULL_ENOUGH:
                pace_seconds = BUSY_PACE_SECONDS if count >= BUSY else PACE_SECONDS
                self._next_at = asyncio.get_running_loop().time() + pace_seconds
            return batch


async def run(processor: Processor, *, pipelines: int, stop: asyncio.Event, drain_seconds: float) -> None:
    """Work through the queue with `pipelines` batches at once, until `stop`. Then finish the batches that have begun."""
    pace = Pace()

    async def one_batch() -> float:
        batch = await pace.take(processor, stop=stop)
        if batch is not None:
            await processor.work(batch)
        return 0.0

    async def pipeline() -> None:
        await loops.repeat(one_batch, stop=stop, what="messages-processor")

    async def all_pipelines() -> None:
        await asyncio.gather(*(pipeline() for _ in range(pipelines)))

    metrics.pipelines.set(pipelines)
    await loops.run_until_stopped(all_pipelines(), stop=stop, drain_seconds=drain_seconds)
