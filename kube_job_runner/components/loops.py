"""Loops of components: repeat with backoff, run together, stop on request."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

from kube_job_runner.domain import backoff
from kube_job_runner.domain.backoff import Backoff
from kube_job_runner.domain.errors import TemporaryError
from kube_job_runner.telemetry import loggers, metrics

log = loggers.get_logger(__name__)

_BACKOFF_MAX_SECONDS = 5.0


async def sleep_unless_stopped(seconds: float, stop: asyncio.Event) -> None:
    """Sleep until `seconds` are over or `stop` is set."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await stop.wait()


async def repeat(
    round_: Callable[[], Awaitable[float]], *, stop: asyncio.Event, what: str, backoff_seconds: float = 0.2
) -> None:
    """Call `round_` until `stop` is set. It returns the pause before the next round, in seconds.

    After a `TemporaryError` the pause doubles, up to five seconds. Any other exception is a bug and ends the component.
    """
    retries = Backoff(first_seconds=backoff_seconds, max_seconds=_BACKOFF_MAX_SECONDS, over=backoff.EXACT)
    while not stop.is_set():
        try:
            pause_seconds = await round_()
        except TemporaryError as error:
            metrics.rounds.labels(what, "temporary").inc()
            pause_seconds = retries.next()
            log.warning(
                "a round failed; retrying",
                action="component.retry",
                component=what,
                error=str(error),
                delay_seconds=round(pause_seconds, 2),
            )
        except Exception:
            metrics.rounds.labels(what, "error").inc()
            raise
        else:
            metrics.rounds.labels(what, "ok").inc()
            metrics.round_ended.beat(what)
            retries.reset()
        if pause_seconds > 0:
            await sleep_unless_stopped(pause_seconds, stop)


async def run_together(main: Coroutine[Any, Any, None], background: Coroutine[Any, Any, None] | None) -> None:
    """Run `main` to its end. Run `background` meanwhile, and then cancel it. An error of either ends both and is raised."""
    task = asyncio.create_task(main)
    tasks = {task} if background is None else {task, asyncio.create_task(background)}
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for first in done:
            first.result()
        await task
    finally:
        for each in tasks:
            each.cancel()
        await asyncio.wait(tasks)
        for each in tasks:
            with contextlib.suppress(asyncio.CancelledError):
                each.exception()  # retrieved, because only the first of two errors is raised


async def run_until_stopped(work: Awaitable[None], *, stop: asyncio.Event, drain_seconds: float = 0.0) -> None:
    """Run `work`. Once `stop` is set, cancel it after `drain_seconds`, unless it has ended by then."""
    task = asyncio.ensure_future(work)
    stopped = asyncio.create_task(stop.wait())
    try:
        await asyncio.wait({task, stopped}, return_when=asyncio.FIRST_COMPLETED)
        if not task.done() and drain_seconds > 0:
            await asyncio.wait({task}, timeout=drain_seconds)
        if not task.done():
            task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
    finally:
        stopped.cancel()
        if not task.done():
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task
