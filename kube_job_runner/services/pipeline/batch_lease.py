"""The lease of a batch: extended while the batch is worked on, and released at once when the work is given up."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable

from kube_job_runner import ports
from kube_job_runner.domain.errors import TemporaryError
from kube_job_runner.services.pipeline import redelivery
from kube_job_runner.services.pipeline.batch import Batch
from kube_job_runner.telemetry import loggers

log = loggers.get_logger(__name__)


@contextlib.asynccontextmanager
async def held(
    batch: Batch, queue: ports.MessageQueue, clock: ports.Clock, *, lease_seconds: float
) -> AsyncIterator[Callable[[], bool]]:
    """Keep a batch hidden while it is worked on; yields a function that returns whether the lease still holds.

    A batch that is given up (the task is cancelled, or the store is unreachable) is released at once, and the jobs that were
    admitted with it are left to others.
    """
    receipts = [delivery.receipt for delivery in batch.deliveries]
    held_until = clock.monotonic() + lease_seconds

    async def heartbeat() -> None:
        nonlocal held_until
        while True:
            await asyncio.sleep(lease_seconds / 3)
            asked_at = clock.monotonic()
            try:
                await queue.extend(receipts, visibility_seconds=lease_seconds)
            except TemporaryError as error:
                log.warning("the lease of a batch was not extended", action="batch.lease", error=str(error))
            else:
                held_until = asked_at + lease_seconds

    task = asyncio.create_task(heartbeat())
    try:
        yield lambda: clock.monotonic() < held_until
    except BaseException:
        task.cancel()
        with contextlib.suppress(TemporaryError):
            await asyncio.shield(queue.extend(receipts, visibility_seconds=0.0))
            await asyncio.shield(redelivery.leave_to_others(queue, batch.unsettled, delay_seconds=0.0))
        raise
    finally:
        task.cancel()
        await asyncio.wait({task})  # suppressing its CancelledError could swallow one that is meant for us
