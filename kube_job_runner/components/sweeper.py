"""sweeper: sends a `Check` for every due job, removes what is old, and compares the store with the cluster."""

import asyncio

from kube_job_runner.components import loops
from kube_job_runner.domain import backoff
from kube_job_runner.domain.errors import ConfigurationError, LeaseLost, TemporaryError
from kube_job_runner.services.readiness import DepthMeter
from kube_job_runner.services.reconcile import Reconciler
from kube_job_runner.services.sweep import Sweeper
from kube_job_runner.settings.groups import SweepSettings
from kube_job_runner.telemetry import loggers, metrics

log = loggers.get_logger(__name__)

FAILED_PAUSE_SECONDS = 60.0
DEPTH_SECONDS = 10.0


async def run(
    sweeper: Sweeper,
    *,
    settings: SweepSettings,
    stop: asyncio.Event,
    reconciler: Reconciler | None = None,
    depth: DepthMeter | None = None,
) -> None:
    """Sweep every `sweep_seconds` (with jitter) until `stop`; without a pause while there is more to do.

    At the same time compare the store with the cluster every `reconcile_seconds`, and measure the depth of the queue every
    ten seconds. An unreachable cluster or a slow count delays no check.

    Raises:
        LeaseLost: another process sweeps now.
        WrongCluster: the cluster is not the one that the database belongs to.
    """

    async def one_round() -> float:
        with metrics.sweep_seconds.time():
            counts = await sweeper.run_once()
        if sweeper.more_to_do(counts):
            return 0.0
        return backoff.spread(settings.sweep_seconds, backoff.AROUND)

    measuring = _measure(depth, stop=stop) if depth is not None else None
    background = measuring
    if reconciler is not None:
        comparing = _reconcile(reconciler, interval_seconds=settings.reconcile_seconds, stop=stop)
        background = loops.run_together(comparing, measuring)
    try:
        await loops.run_together(loops.repeat(one_round, stop=stop, what="sweeper"), background)
    finally:
        metrics.depth_figures.clear()


async def _measure(depth: DepthMeter, *, stop: asyncio.Event) -> None:
    while not stop.is_set():
        try:
            await depth.run_once()
        except Exception:  # every job depends on the checks, none on the figures
            metrics.depth_failures.inc()
            log.exception("the depth of the queue was not measured", action="depth.measure")
        await loops.sleep_unless_stopped(backoff.spread(DEPTH_SECONDS, backoff.AROUND), stop)


async def _reconcile(reconciler: Reconciler, *, interval_seconds: float, stop: asyncio.Event) -> None:
    while not stop.is_set():
        pause_seconds = interval_seconds
        try:
            with metrics.reconcile_seconds.time():
                await reconciler.run_once()
        except TemporaryError as error:
            metrics.reconcile_failures.inc()
            pause_seconds = min(interval_seconds, FAILED_PAUSE_SECONDS)
            log.warning(
                "the store was not compared with the cluster",
                action="cluster.compare",
                error=str(error),
                again_in_seconds=pause_seconds,
            )
        except (LeaseLost, ConfigurationError):
            raise
        except Exception:  # every job depends on the checks
            metrics.reconcile_failures.inc()
            log.exception(
                "the store was not compared with the cluster", action="cluster.compare", again_in_seconds=pause_seconds
            )
        await loops.sleep_unless_stopped(backoff.spread(pause_seconds, backoff.AROUND), stop)
