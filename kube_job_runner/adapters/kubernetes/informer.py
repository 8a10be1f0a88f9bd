"""The informer: list everything, then watch from there, for ever.

Three loops, one inside the other, each with one reason to begin again: `events` when everything must be listed anew (a
410, or the periodic list), `watch.watch_on` when one connection is over, and the connection itself, which never does.
All namespaces are listed and watched side by side, and none waits for another: `Listed` is told of each by itself.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Mapping
from typing import Generic

from kube_job_runner.adapters.kubernetes import paged_list, watch
from kube_job_runner.adapters.kubernetes.decode import Facts
from kube_job_runner.adapters.kubernetes.event_buffer import Buffer
from kube_job_runner.adapters.kubernetes.watched_namespace import Scope, Wiring
from kube_job_runner.domain import backoff
from kube_job_runner.ports import Listed, Relisting, WatchEvent
from kube_job_runner.telemetry import loggers

CAPACITY_EVENTS = 50_000
CRASH_PAUSE_SECONDS = 5.0

_log = loggers.get_logger(__name__)


class Informer(Generic[Facts]):
    """Watches one kind in some namespaces; one informer serves one consumer."""

    def __init__(self, wiring: Wiring[Facts], *, paths: Mapping[str | None, str]) -> None:
        self._wiring: Wiring[Facts] = wiring
        self._scopes: list[Scope[Facts]] = [
            Scope(wiring, namespace=namespace, path=path) for namespace, path in paths.items()
        ]

    async def events(self) -> AsyncGenerator[WatchEvent]:
        """Yield what `ports.ClusterWatcher` promises, without end."""
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
        """Fill the buffer from one list of everything and what follows it, until everything must be listed again."""
        listed = asyncio.Event()
        missing = {scope.namespace for scope in self._scopes}

        async def follow(scope: Scope[Facts]) -> None:
            await paged_list.list_all(scope, buffer)
            buffer.put([Listed(scope.namespace)])
            missing.discard(scope.namespace)
            if not missing:
                self._wiring.stats.lists += 1
                self._wiring.stats.listed_at = self._wiring.monotonic()
            listed.set()
            await watch.watch_on(scope, buffer)
            buffer.close()

        async def again() -> None:
            await listed.wait()
            await asyncio.sleep(backoff.spread(self._wiring.tuning.relist_seconds, backoff.AROUND))
            buffer.close()

        try:
            async with asyncio.TaskGroup() as group:
                for scope in self._scopes:
                    group.create_task(follow(scope))
                group.create_task(again())
        except Exception as error:  # noqa: BLE001  a bug must neither stop the watch without a word nor spin: list anew
            self._wiring.stats.crashes += 1
            _log.exception("watch_crashed", kind=self._wiring.kind, error=str(error))
            await self._wiring.sleep(CRASH_PAUSE_SECONDS)
            buffer.close()
