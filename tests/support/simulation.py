"""The wiring that simulations share: watchers of a simulated cluster, and tasks that run as long as a block."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Coroutine, Sequence
from typing import Any

from kube_job_runner import ports
from kube_job_runner.adapters.simulated import SimulatedCluster
from kube_job_runner.services.observe import Observer


def observers(
    cluster: SimulatedCluster, *, store: ports.ObserveStore, queue: ports.MessageQueue, clock: ports.Clock
) -> list[Observer]:
    """Return the watchers of Jobs and of pods."""
    return [
        Observer(kind="job", events=cluster.watch_jobs(), store=store, queue=queue, clock=clock),
        Observer(kind="pod", events=cluster.watch_pods(), store=store, queue=queue, clock=clock),
    ]


@contextlib.asynccontextmanager
async def running(
    cluster: SimulatedCluster, work: Sequence[Coroutine[Any, Any, None]], *, expected: tuple[type[Exception], ...] = ()
) -> AsyncIterator[None]:
    """Run tasks until the block ends, then close the cluster; fail when one of them raised another error than expected."""
    tasks = [asyncio.create_task(each) for each in work]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        results = await asyncio.gather(*tasks, return_exceptions=True)
        await cluster.close()
        assert [each for each in results if isinstance(each, Exception) and not isinstance(each, expected)] == []
