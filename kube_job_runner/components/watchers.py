"""job-status-processor and pod-events-processor: watch Jobs or Pods, and report what they see to the queue."""

import asyncio
from collections.abc import Callable

from kube_job_runner.components import loops
from kube_job_runner.domain.errors import ConfigurationError, LeaseLost
from kube_job_runner.services.observe import Observer
from kube_job_runner.telemetry import loggers, metrics

log = loggers.get_logger(__name__)

TEXT_PAUSE_SECONDS = 60.0


async def run(observer: Observer, *, stop: asyncio.Event, text: Callable[[], Observer] | None = None) -> None:
    """Forward observations until `stop`. Those that were read are still sent.

    `text` makes the observer of Kubernetes Events, which runs in the background. Its errors stop nothing.

    Raises:
        LeaseLost: another process watches now.
    """
    background = _keep_reading(text, stop=stop) if text is not None else None
    await loops.run_together(loops.run_until_stopped(observer.run(), stop=stop), background)


async def _keep_reading(make: Callable[[], Observer], *, stop: asyncio.Event) -> None:
    while not stop.is_set():
        try:
            await loops.run_until_stopped(make().run(), stop=stop)
        except (LeaseLost, ConfigurationError):
            raise
        except Exception:  # texts are best effort; the watch of the pods goes on
            metrics.watch_failures.labels("event").inc()
            log.exception("the watch of events failed", action="watch.events", again_in_seconds=TEXT_PAUSE_SECONDS)
            await loops.sleep_unless_stopped(TEXT_PAUSE_SECONDS, stop)
