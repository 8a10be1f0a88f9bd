"""outbox-relay: sends messages from the outbox in the database to the queue outside it, and measures that queue."""

import asyncio
import time

from kube_job_runner.components import loops
from kube_job_runner.domain import backoff
from kube_job_runner.services.relay import Relay

MEASURE_SECONDS = 30.0
PACE_SECONDS = 0.03
FULL_ENOUGH = 100  # messages: the next batch need not wait for more


async def run(relay: Relay, *, pipelines: int, stop: asyncio.Event, drain_seconds: float) -> None:
    """Send with `pipelines` batches at once, until `stop`. Then finish the batches that have begun."""

    async def one_batch() -> float:
        began = time.monotonic()
        count = await relay.run_once()
        if not 0 < count < FULL_ENOUGH:
            return 0.0
        # After a small batch, gather more messages for the next request: a queue is paid by requests.
        return max(0.0, PACE_SECONDS - (time.monotonic() - began))

    async def measure() -> float:
        await relay.measure()
        return backoff.spread(MEASURE_SECONDS, backoff.AROUND)

    async def all_loops() -> None:
        sending = (loops.repeat(one_batch, stop=stop, what="outbox-relay") for _ in range(pipelines))
        await asyncio.gather(*sending, loops.repeat(measure, stop=stop, what="outbox-relay"))

    await loops.run_until_stopped(all_loops(), stop=stop, drain_seconds=drain_seconds)
