"""web-server: accepts jobs, stores them, and serves their state."""

import asyncio
import contextlib
from collections.abc import Callable, Coroutine
from typing import Any

from kube_job_runner.components import loops
from kube_job_runner.domain.errors import TemporaryError
from kube_job_runner.ports import SyncedClock
from kube_job_runner.settings import Settings
from kube_job_runner.web import server
from kube_job_runner.web.app import WebApp

SYNC_SECONDS = 30.0


async def run(app: WebApp, settings: Settings, stop: asyncio.Event, ready: Callable[[str], None]) -> None:
    """Serve until `stop` is set, then end within `settings.process.drain_seconds`. `ready` is called with the URL.

    All long polls and log streams are ended first.

    Raises:
        ConfigurationError: the address cannot be listened on.
    """
    async with server.serve(app, host=settings.web.host, port=settings.web.port) as serving:
        ready(serving.url)
        stopping = asyncio.create_task(stop.wait())
        try:
            await asyncio.wait([serving.task, stopping], return_when=asyncio.FIRST_COMPLETED)
        finally:
            stopping.cancel()
        await app.drain()
        await serving.end(drain_seconds=settings.process.drain_seconds)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(max(1.0, settings.process.drain_seconds)):
                await app.close()


async def run_in_sync(work: Coroutine[Any, Any, None], clock: SyncedClock, *, stop: asyncio.Event) -> None:
    """Run `work` after the clock was synchronized, and synchronize it every `SYNC_SECONDS` meanwhile."""

    async def keep() -> None:
        while not stop.is_set():
            await loops.sleep_unless_stopped(SYNC_SECONDS, stop)
            await sync()

    async def sync() -> None:
        with contextlib.suppress(TemporaryError):  # the clock goes on from its last answer
            await clock.sync()

    await sync()
    await loops.run_together(work, keep())
