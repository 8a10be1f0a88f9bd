"""The informer: lists everything, and then watches from there, forever.

Three loops, one inside the other, each with one reason to begin again:

- `events` begins again when everything must be listed: after a 410, or for the periodic list;
- `watch.watch_on` begins again when a connection has ended;
- the connection itself never does.

Each namespace is listed and watched separately, and none waits for another. A `Listed` reports one namespace.
"""

import asyncio
from collections.abc import AsyncGenerator, Iterable
from typing import Generic

from kube_job_runner.adapters.kubernetes import paged_list, watch
from kube_job_runner.adapters.kubernetes.decode import Facts
from kube_job_runner.adapters.kubernetes.event_buffer import Buffer
from kube_job_runner.adapters.kubernetes.watched_namespace import WatchContext, WatchedNamespace
from kube_job_runner.domain import backoff
from kube_job_runner.ports import Listed, Relisting, WatchEvent
from kube_job_runner.telemetry import loggers

CAPACITY_EVENTS = 50_000
CRASH_PAUSE_SECONDS = 5.0

_log = loggers.get_logger(__name__)


class Informer(Generic[Facts]):
    """Watches one kind in some namespaces (None: all of them). One informer serves one consumer."""

    def __init__(self, context: WatchContext[Facts], *, namespaces: Iterable[str | None]) -> None:
        self._context: WatchContext[Facts] = context
        self._namespaces: list[WatchedNamespace[Facts]] = [WatchedNamespace(context, name) for name in namespaces]

    async def events(self) -> AsyncGenerator[WatchEvent]:
        """Yield what `ports.ClusterWatcher` promises, without end."""
        for watched in self._namespaces:
            watched.times.interrupted()  # an earlier informer of this process has ended at some time
        while True:
            yield Relisting()  # lists begin when the consumer asks for more: it reads its own state first
            buffer: Buffer[WatchEvent] = Buffer(CAPACITY_EVENTS)
            task = asyncio.create_task(self._round(buffer))
            try:
                while (event := await buffer.get()) is not None:
                    yield event
            finally:
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)

    async def _round(self, buffer: Buffer[WatchEvent]) -> None:
        """Fill the buffer from one list of everything and the watch after it, until everything must be listed again."""
        stats = self._context.stats
        listed = asyncio.Event()
        missing = {watched.namespace for watched in self._namespaces}

        async def follow(watched: WatchedNamespace[Facts]) -> None:
            await paged_list.list_all(watched, buffer)
            buffer.put([Listed(watched.namespace, watched.cluster)])
            missing.discard(watched.namespace)
            if not missing:
                stats.lists += 1
                stats.listed_at = self._context.monotonic()
            listed.set()
            await watch.watch_on(watched, buffer)
            buffer.close()

        async def again() -> None:
            await listed.wait()
            await asyncio.sleep(backoff.spread(self._context.tuning.relist_seconds, backoff.AROUND))
            buffer.close()

        try:
            async with asyncio.TaskGroup() as group:
                for watched in self._namespaces:
                    group.create_task(follow(watched))
                group.create_task(again())
        except Exception as error:  # noqa: BLE001 - a bug must neither stop the watch silently nor spin: list again
            stats.crashes += 1
            _log.exception(
                "watch failed by an unexpected error; listing again",
                action="watch.crash",
                kind=self._context.kind.name,
                error=str(error),
            )
            await self._context.sleep(CRASH_PAUSE_SECONDS)
            buffer.close()
