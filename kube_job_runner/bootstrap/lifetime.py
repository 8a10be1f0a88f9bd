"""The life of a process: its event loop, its signals, and the end of all components when one of them fails."""

import asyncio
import contextlib
import ctypes
import gc
import os
import signal
import sys
from collections.abc import Awaitable, Collection, Coroutine
from typing import Any, TypeVar

from kube_job_runner.domain.errors import ConfigurationError, Unrecoverable
from kube_job_runner.telemetry import loggers, metrics

log = loggers.get_logger(__name__)
LAG_INTERVAL_SECONDS = 1.0
_DRAIN_MARGIN_SECONDS = 5.0
_LOST_DRAIN_SECONDS = 2.0
_PR_SET_DUMPABLE = 4
_T = TypeVar("_T")


async def supervise(
    coroutines: dict[str, Coroutine[Any, Any, None]],
    *,
    stop: asyncio.Event,
    drain_seconds: float,
    extra: Collection[Coroutine[Any, Any, None]] = (),
) -> int:
    """Run the components until `stop`, or until one of them fails; return the exit code.

    A failed component ends the whole process, so that a person or a kubelet sees it. The `extra` work ends
    after the last component: probes must answer while components drain. After an `Unrecoverable` nothing is drained.

    Raises:
        ConfigurationError: a component cannot run with these settings.
        Unrecoverable: what the process works with is gone.
    """
    metrics.drain_limit_seconds.set(drain_seconds)
    helpers = [asyncio.create_task(work) for work in (*extra, _measure_lag(), _note_stop(stop))]
    tasks = {asyncio.create_task(_named(name, work), name=name): name for name, work in coroutines.items()}
    try:
        return await _until_the_end(tasks, helpers, stop=stop, drain_seconds=drain_seconds)
    finally:
        for helper in helpers:
            helper.cancel()
        await asyncio.gather(*helpers, return_exceptions=True)


async def _named(component: str, work: Coroutine[Any, Any, None]) -> None:
    metrics.component_up.labels(component).set(1)
    try:
        with loggers.about(component=component):
            await work
    finally:
        metrics.component_up.remove(component)


async def _measure_lag() -> None:
    loop = asyncio.get_running_loop()
    while True:
        due_at = loop.time() + LAG_INTERVAL_SECONDS
        await asyncio.sleep(LAG_INTERVAL_SECONDS)
        metrics.loop_lag_seconds.observe(max(0.0, loop.time() - due_at))


async def _note_stop(stop: asyncio.Event) -> None:
    await stop.wait()
    metrics.stopping_since.set_to_current_time()
    await asyncio.Event().wait()


async def _until_the_end(
    tasks: dict[asyncio.Task[None], str],
    helpers: list[asyncio.Task[None]],
    *,
    stop: asyncio.Event,
    drain_seconds: float,
) -> int:
    stopped = asyncio.create_task(stop.wait())
    exit_code = 0
    wrong: ConfigurationError | Unrecoverable | None = None
    await asyncio.wait({stopped, *tasks, *helpers}, return_when=asyncio.FIRST_COMPLETED)
    if not stop.is_set():
        exit_code = 1
        stop.set()
        if any(_lost(task) for task in (*tasks, *helpers)):
            drain_seconds = _LOST_DRAIN_SECONDS - _DRAIN_MARGIN_SECONDS
    _, pending = await asyncio.wait(tasks, timeout=drain_seconds + _DRAIN_MARGIN_SECONDS)
    for task in pending:
        task.cancel()
    ended = {helper: "probes" for helper in helpers if helper.done()}  # for example because the port is in use
    for task, name in (*tasks.items(), *ended.items()):
        with contextlib.suppress(asyncio.CancelledError):
            try:
                await task
            except (ConfigurationError, Unrecoverable) as error:
                wrong = error
            except Exception as error:
                exit_code = 1
                log.error("component failed", action="component.fail", component=name, exc_info=error)
    await stopped
    if wrong is not None:
        raise wrong
    return exit_code


def _lost(task: asyncio.Task[None]) -> bool:
    return task.done() and not task.cancelled() and isinstance(task.exception(), Unrecoverable)


def spare_garbage_collection() -> None:
    """Keep the objects of the start, which live to the end, out of garbage collection, and collect less often."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 20)


def hide_memory() -> None:
    """Keep other processes of the same user out of our memory and our environment, as far as the system can (Linux).

    The files of this process in /proc belong to root from now on, it cannot be traced, and it leaves no core dump.
    Source: prctl(2), PR_SET_DUMPABLE. Root itself is not kept out.
    """
    if sys.platform.startswith("linux"):
        ctypes.CDLL(None).prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)


def handle_signals(stop: asyncio.Event) -> None:
    """Drain at the first signal, and exit at the second. That loses nothing: everything is in the store."""

    def handle(number: int) -> None:
        if stop.is_set():
            os._exit(128 + number)
        log.info("stopping", action="process.stop", signal=signal.Signals(number).name)
        stop.set()

    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, handle, number)


def run_to_end(work: Awaitable[_T]) -> _T:
    """Run `work` in an event loop of its own, uvloop's where it is installed; return its result."""

    async def main() -> _T:
        return await work

    try:
        import uvloop
    except ImportError:
        return asyncio.run(main())
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(main())
