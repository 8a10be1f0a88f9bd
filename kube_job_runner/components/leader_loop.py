"""Leadership: one process of a component works, and any number of others stand by, ready to take over.

                 acquire                       renewal or write refused, or the work failed
    standby ────────────────────> leader ──────────────────────────────────────────────────> standby
       ^    (the lease was given back,      |  the process is to stop: finish the work, give the lease back
       |     ran out, or its holder is gone)|
       └────────────────────────────────────┘

Correctness does not depend on time. A leader that was suspended for an hour finds its first write refused, because every
write carries the epoch of its term. Time decides only how soon another process takes over. A leader that cannot reach the
database keeps its term: it cannot write anyway, and if nobody took over, nothing is lost. Each term starts without any memory
of the last one.
"""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from typing import Any

from kube_job_runner import ports
from kube_job_runner.components import loops
from kube_job_runner.domain import backoff
from kube_job_runner.domain.errors import LeaseLost, TemporaryError
from kube_job_runner.telemetry import loggers, metrics

log = loggers.get_logger(__name__)

POLL_SECONDS = 1.0
RENEWALS_PER_LEASE = 3.0

Work = Callable[[ports.Fence], Awaitable[None]]


class Leadership:
    """The lease of one component, as one process sees it."""

    def __init__(self, component: str, leases: ports.LeaseStore, *, holder: str, lease_seconds: float) -> None:
        self._component = component
        self._leases = leases
        self._holder = holder
        self._lease_seconds = lease_seconds
        self._epoch: int | None = None
        self._held = metrics.lease_held.labels(component)
        self._held.set(0)

    @property
    def standing(self) -> str:
        """`standby`, or `leader` with its epoch, for people."""
        return "standby" if self._epoch is None else f"leader, epoch {self._epoch}"

    @property
    def leads(self) -> bool:
        """Whether this process does the component's work."""
        return self._epoch is not None

    async def run(self, work: Work, *, stop: asyncio.Event) -> None:
        """Do `work` whenever this process leads, until `stop`. The work must stop then as well.

        `work` is called once per term, and must write only with the fence of the term. Its exceptions end the component,
        except `LeaseLost` and `TemporaryError`.
        """

        async def one_try() -> float:
            fence = await self._leases.acquire(self._component, holder=self._holder, lease_seconds=self._lease_seconds)
            if fence is not None:
                await self._lead(fence, work)
            return backoff.spread(POLL_SECONDS, backoff.AROUND)

        await loops.repeat(one_try, stop=stop, what=self._component)

    async def _lead(self, fence: ports.Fence, work: Work) -> None:
        self._epoch = fence.epoch
        self._held.set(1)
        metrics.lease_changes.labels(self._component).inc()
        log.info("leading", action="lease.take", component=self._component, epoch=fence.epoch)
        tasks = [asyncio.ensure_future(work(fence)), asyncio.create_task(self._keep(fence))]
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        except LeaseLost as error:
            log.warning(
                "standing by", action="lease.lose", component=self._component, epoch=fence.epoch, why=str(error)
            )
        finally:
            for task in tasks:
                await self._ended(task)
            self._epoch = None
            self._held.set(0)
            with contextlib.suppress(TemporaryError):
                await self._leases.release(fence)

    async def _keep(self, fence: ports.Fence) -> None:
        while True:
            await asyncio.sleep(self._lease_seconds / RENEWALS_PER_LEASE)
            try:
                await self._leases.renew(fence, lease_seconds=self._lease_seconds)
            except TemporaryError as error:
                log.warning(
                    "the lease was not renewed",
                    action="lease.renew",
                    component=self._component,
                    epoch=fence.epoch,
                    error=str(error),
                )

    async def _ended(self, task: asyncio.Future[Any]) -> None:
        """Cancel a task and wait for its end; log an error that nobody has seen yet."""
        was_done = task.done()
        task.cancel()
        await asyncio.wait({task})
        error = None if task.cancelled() else task.exception()
        if error is not None and not was_done and not isinstance(error, LeaseLost | TemporaryError):
            log.error(
                "the work of a leader failed while it was being stopped",
                action="lease.work",
                component=self._component,
                exc_info=error,
            )
