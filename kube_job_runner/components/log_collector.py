"""log-collector: the only reader of logs in the cluster. It stores them before their cluster jobs are deleted."""

import asyncio

from kube_job_runner.components import loops
from kube_job_runner.services.collect import Collector


async def run(collector: Collector, *, stop: asyncio.Event) -> None:
    """Collect until `stop`. Then store what was read, and leave the rest to the next collector."""

    async def one_round() -> float:
        return await collector.run_once()

    async def rounds() -> None:
        await loops.repeat(one_round, stop=stop, what="log-collector")

    try:
        await loops.run_until_stopped(rounds(), stop=stop)
    finally:
        await collector.close()
