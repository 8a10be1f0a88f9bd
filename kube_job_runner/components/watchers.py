"""job-status-processor and pod-events-processor: watch Jobs or Pods, report what was seen to the queue."""

from __future__ import annotations

import asyncio

from kube_job_runner.components import loops
from kube_job_runner.services.observe import Observer


async def run(observer: Observer, *, stop: asyncio.Event) -> None:
    """Forward observations until `stop`; those already read are sent first."""
    await loops.run_until_stopped(observer.run(), stop=stop)
