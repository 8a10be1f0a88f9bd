"""sweeper: sends a `Check` for every job that is due, and forgets what is old."""

from __future__ import annotations

import asyncio
import random

from kube_job_runner.components import loops
from kube_job_runner.services.sweep import Sweeper


async def run(sweeper: Sweeper, *, interval_seconds: float, stop: asyncio.Event) -> None:
    """Sweep every `interval_seconds` (with jitter), at once again while there is more to do, until `stop`."""

    async def one_round() -> float:
        counts = await sweeper.run_once()
        if sweeper.more_to_do(counts):
            return 0.0
        return interval_seconds * random.uniform(0.8, 1.2)  # noqa: S311 - jitter, not a secret

    await loops.repeat(one_round, stop=stop, what="sweeper")
