"""web-server: accepts jobs, stores them, and serves their state."""

import asyncio
import contextlib
from collections.abc import Callable, Coroutine
from typing import Any

from kube_job_runner.components import loops
from kube_job_runner.domain.errors import TemporaryError
from kube_job_runner.ports import SyncedClock
from kube_job_runner.settings import Settings
from kube_job_runner.settings.groups import WebSettings
from kube_job_runner.web import server
from kube_job_runner.web.app import WebApp
from kube_job_runner.web.wire.connections import Caps, Deadlines

SYNC_SECONDS = 30.0


async def run(
    app: WebApp,
    settings: Settings,
    stop: asyncio.Event,
    ready: Callable[[str], None],
    *,
    deadlines: Deadlines | None = None,
) -> None:
    """Serve until `stop` is set, then end within `settings.process.drain_seconds`. `ready` is called with the URL.

    `deadlines` of connections are those of the settings, unless they are given.

    All long polls and log streams are ended first.

    Raises:
        ConfigurationError: the address cannot be listened on.
    """
    async with server.serve(
        app,
        host=settings.web.host,
        port=settings.web.port,
        deadlines=deadlines or _deadlines(settings.web),
        caps=_caps(settings.web),
    ) as serving:
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


def _deadlines(web: WebSettings) -> Deadlines:
    return Deadlines(
        head_seconds=web.head_timeout_seconds,
        body_seconds=web.body_timeout_seconds + 5.0,  # the application answers 408 first
        idle_seconds=web.idle_timeout_seconds,
        queued_seconds=2 * web.wait_max_seconds,
        write_seconds=web.write_timeout_seconds,
    )


def _caps(web: WebSettings) -> Caps:
    return Caps(total=web.connections_max, per_peer=web.connections_per_peer_max)


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
