"""The life of a process: its event loop, its signals, and the end of all its components when one of them fails."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import Awaitable, Coroutine
from typing import Any, TypeVar

from kube_job_runner import telemetry
from kube_job_runner.domain.errors import ConfigurationError

log = telemetry.get_logger(__name__)
_T = TypeVar("_T")


async def supervise(
    coroutines: dict[str, Coroutine[Any, Any, None]], *, stop: asyncio.Event, drain_seconds: float
) -> int:
    """Run the components until `stop`, or until one of them fails: then the process ends, for a person or a kubelet to see."""
    tasks = {asyncio.create_task(work, name=name): name for name, work in coroutines.items()}
    stopped = asyncio.create_task(stop.wait())
    exit_code = 0
    wrong: ConfigurationError | None = None
    await asyncio.wait({stopped, *tasks}, return_when=asyncio.FIRST_COMPLETED)
    if not stop.is_set():
        exit_code = 1
        stop.set()
    _, pending = await asyncio.wait(tasks, timeout=drain_seconds + 5.0)
    for task in pending:
        task.cancel()
    for task, name in tasks.items():
        with contextlib.suppress(asyncio.CancelledError):
            try:
                await task
            except ConfigurationError as error:
                wrong = error
            except Exception as error:
                exit_code = 1
                log.error("component failed", component=name, exc_info=error)
    await stopped
    if wrong is not None:
        raise wrong
    return exit_code


def handle_signals(stop: asyncio.Event) -> None:
    """First signal: drain and end. Second: end at once, which loses nothing, because everything is in the store."""

    def handle(number: int) -> None:
        if stop.is_set():
            os._exit(128 + number)
        log.info("stopping", signal=signal.Signals(number).name)
        stop.set()

    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, handle, number)


def run_to_end(work: Coroutine[Any, Any, _T] | Awaitable[_T]) -> _T:
    async def main() -> _T:
        return await work

    try:
        import uvloop
    except ImportError:
        return asyncio.run(main())
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(main())
