"""Clock synchronization: a database's clock asked again and again while work goes by it."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Coroutine
from typing import Any

from kube_job_runner.components import loops
from kube_job_runner.domain.errors import TemporaryError
from kube_job_runner.ports import SyncedClock

SYNC_SECONDS = 30.0


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
    await loops.run_beside(work, keep())
