"""sweeper: sends a `Check` for every job that is due, forgets what is old, and compares the store with the cluster."""

from __future__ import annotations

import asyncio
import random

from kube_job_runner import telemetry
from kube_job_runner.components import loops
from kube_job_runner.domain.errors import LeaseLost, TemporaryError
from kube_job_runner.services.reconcile import Reconciler
from kube_job_runner.services.sweep import Sweeper

log = telemetry.get_logger(__name__)

FAILED_PAUSE_SECONDS = 60.0


async def run(
    sweeper: Sweeper,
    *,
    interval_seconds: float,
    stop: asyncio.Event,
    reconciler: Reconciler | None = None,
    reconcile_seconds: float = 600.0,
) -> None:
    """Sweep every `interval_seconds` (with jitter), at once again while there is more to do, until `stop`.

    Every `reconcile_seconds` the store is compared with the cluster, beside that: a cluster that is away holds up no check.

    Raises:
        LeaseLost: another process sweeps now.
    """

    async def one_round() -> float:
        counts = await sweeper.run_once()
        if sweeper.more_to_do(counts):
            return 0.0
        return _jittered(interval_seconds)

    beside = None
    if reconciler is not None:
        beside = _reconcile(reconciler, interval_seconds=reconcile_seconds, stop=stop)
    await loops.run_beside(loops.repeat(one_round, stop=stop, what="sweeper"), beside)


async def _reconcile(reconciler: Reconciler, *, interval_seconds: float, stop: asyncio.Event) -> None:
    while not stop.is_set():
        pause_seconds = interval_seconds
        try:
            await reconciler.run_once()
        except TemporaryError as error:
            telemetry.reconcile_failures.inc()
            pause_seconds = min(interval_seconds, FAILED_PAUSE_SECONDS)
            log.warning("store and cluster not compared", error=str(error), again_in_seconds=pause_seconds)
        except LeaseLost:
            raise
        except Exception:  # an error of ours here must not stop the checks that every job depends on
            telemetry.reconcile_failures.inc()
            log.exception("store and cluster not compared", again_in_seconds=pause_seconds)
        await loops.sleep_unless_stopped(_jittered(pause_seconds), stop)


def _jittered(seconds: float) -> float:
    return seconds * random.uniform(0.8, 1.2)  # noqa: S311 - jitter, not a secret
