"""The pod-events-processor: two watches, and what becomes of the text stops nothing."""

from __future__ import annotations

import asyncio

import pytest

from kube_job_runner.components import watchers
from kube_job_runner.telemetry import metrics

pytestmark = [pytest.mark.asyncio, pytest.mark.looptime]


class FakeObserver:
    def __init__(self, *, error: Exception | None = None) -> None:
        self.error = error
        self.started = 0
        self.stopped = 0

    async def run(self) -> None:
        self.started += 1
        if self.error is not None:
            raise self.error
        try:
            await asyncio.Event().wait()
        finally:
            self.stopped += 1


async def run_for(seconds: float, pods: FakeObserver, text: FakeObserver | None) -> None:
    stop = asyncio.Event()
    make = (lambda: text) if text is not None else None
    task = asyncio.create_task(watchers.run(pods, stop=stop, text=make))  # type: ignore[arg-type]
    await asyncio.sleep(seconds)
    stop.set()
    await task


async def test_both_are_stopped() -> None:
    pods, text = FakeObserver(), FakeObserver()
    await run_for(10, pods, text)
    assert (pods.started, pods.stopped, text.started, text.stopped) == (1, 1, 1, 1)


async def test_one_alone() -> None:
    pods = FakeObserver()
    await run_for(1, pods, None)
    assert pods.stopped == 1


async def test_text_that_fails_is_counted_and_begun_again_while_the_pods_are_watched() -> None:
    before = metrics.watch_failures.labels("event")._value.get()
    pods, text = FakeObserver(), FakeObserver(error=RuntimeError("a bug"))
    await run_for(watchers.TEXT_PAUSE_SECONDS * 2.5, pods, text)
    assert text.started == 3
    assert (pods.started, pods.stopped) == (1, 1)
    assert metrics.watch_failures.labels("event")._value.get() == before + 3


async def test_pods_that_fail_end_the_component_and_the_text_with_it() -> None:
    pods, text = FakeObserver(error=RuntimeError("a bug")), FakeObserver()
    with pytest.raises(RuntimeError, match="a bug"):
        await watchers.run(pods, stop=asyncio.Event(), text=lambda: text)  # type: ignore[arg-type, return-value]
    assert text.stopped == text.started
