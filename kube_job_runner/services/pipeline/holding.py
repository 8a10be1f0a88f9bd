"""Keeps a batch hidden from other processors while it is worked on."""

import asyncio
import contextlib
from collections.abc import AsyncIterator

from kube_job_runner import ports
from kube_job_runner.domain.errors import TemporaryError
from kube_job_runner.ports.send_lease import SendLease
from kube_job_runner.services.pipeline import redelivery
from kube_job_runner.services.pipeline.batch import Batch
from kube_job_runner.services.pipeline.redelivery import Redelivery
from kube_job_runner.telemetry import loggers

log = loggers.get_logger(__name__)


@contextlib.asynccontextmanager
async def held(
    batch: Batch, queue: ports.MessageQueue, answers: Redelivery, clock: ports.Clock, *, lease_seconds: float
) -> AsyncIterator[SendLease]:
    """Keep a batch hidden while it is worked on; yields its lease, which is extended meanwhile.

    A batch that is given up (the task is cancelled, or the store is unreachable) is given back at once, and the jobs that were
    admitted with it are left to others. A batch that failed in any other way comes back unfinished.
    """
    receipts = [delivery.receipt for delivery in batch.deliveries]
    lease = SendLease(clock, seconds=lease_seconds)

    async def heartbeat() -> None:
        while True:
            await asyncio.sleep(lease_seconds / 3)
            asked_at = lease.moment()
            try:
                await queue.extend(receipts, visibility_seconds=lease_seconds)
            except TemporaryError as error:
                log.warning("the lease of a batch was not extended", action="batch.lease", error=str(error))
            else:
                lease.extend(asked_at)

    task = asyncio.create_task(heartbeat())
    try:
        yield lease
    except BaseException as error:
        task.cancel()
        with contextlib.suppress(TemporaryError):
            if isinstance(error, TemporaryError | asyncio.CancelledError):
                await asyncio.shield(answers.give_up(batch.deliveries, delay_seconds=0.0))
            else:
                await asyncio.shield(queue.extend(receipts, visibility_seconds=0.0))
            await asyncio.shield(redelivery.leave_to_others(queue, batch.unsettled, delay_seconds=0.0))
        raise
    finally:
        task.cancel()
        await asyncio.wait({task})  # suppressing its CancelledError could swallow one that is meant for us
