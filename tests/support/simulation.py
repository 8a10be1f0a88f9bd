"""The wiring that simulations share: watchers of a simulated cluster, and tasks that run as long as a block."""

from __future__ import annotations

import asyncio
import contextlib
import functools
from collections.abc import AsyncIterator, Coroutine, Sequence
from typing import Any, Literal, Protocol

from kube_job_runner import ports
from kube_job_runner.adapters.simulated import SimulatedCluster
from kube_job_runner.services.observe import Observer


class Store(ports.ObserveStore, Protocol):
    """What the watchers read and write."""

    async def known_pods(self) -> list[ports.KnownPod]:
        """Return the pods that should exist."""
        ...


def observers(
    cluster: SimulatedCluster, *, store: Store, queue: ports.MessageQueue, clock: ports.Clock
) -> list[Observer]:
    """Return the watchers of Jobs and of pods."""
    watches: list[tuple[Literal["job", "pod"], AsyncIterator[ports.WatchEvent]]] = [
        ("job", cluster.watch_jobs()),
        ("pod", cluster.watch_pods()),
    ]
    return [
        Observer(
            kind=kind,
            events=events,
            store=store,
            queue=queue,
            clock=clock,
            known_pods=store.known_pods if kind == "pod" else None,
            times=functools.partial(cluster.watch_times, kind),
        )
        for kind, events in watches
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


async def stopped(tasks: Sequence[asyncio.Task[None]]) -> None:
    """End tasks, as when their process dies."""
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
