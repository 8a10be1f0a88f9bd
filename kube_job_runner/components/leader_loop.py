"""Who leads: of a component that needs no second, one process works and any number stand by, ready to go on.

                 acquire                       renewal or write refused, or the work failed
    standby ────────────────────> leader ──────────────────────────────────────────────────> standby
       ^    (the lease was given back,      |  the process is to stop: finish the work, give the lease back
       |     ran out, or its holder is gone)|
       └────────────────────────────────────┘

Correctness never rests on time: a leader that was stopped for an hour and wakes finds its first write refused, because every
write carries the epoch of its term. Time only decides how soon somebody else goes on. A leader that cannot reach the database
goes on with what it has: it can write nothing anyway, and if nobody took over it has lost nothing. Each term begins with
nothing remembered from the one before.
"""

from __future__ import annotations

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
        """What this process is, for people: `standby`, or `leader` with its epoch."""
        return "standby" if self._epoch is None else f"leader, epoch {self._epoch}"

    @property
    def leads(self) -> bool:
        """Whether this process does the component's work."""
        return self._epoch is not None

    async def run(self, work: Work, *, stop: asyncio.Event) -> None:
        """Do `work` whenever this process leads, until `stop`, which `work` itself obeys as well.

        `work` is called anew for each term and must write with the fence that it is given only. What it raises, except
        `LeaseLost` and `TemporaryError`, ends the component.
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
                    "lease not renewed",
                    action="lease.renew",
                    component=self._component,
                    epoch=fence.epoch,
                    error=str(error),
                )

    async def _ended(self, task: asyncio.Future[Any]) -> None:
        """End a task, whatever it was doing; an error that nobody has heard of yet is told."""
        was_done = task.done()
        task.cancel()
        await asyncio.wait({task})
        error = None if task.cancelled() else task.exception()
        if error is not None and not was_done and not isinstance(error, LeaseLost | TemporaryError):
            log.error(
                "the work of a leader ended badly", action="lease.work", component=self._component, exc_info=error
            )
