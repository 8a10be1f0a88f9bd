"""The duties of the sweeper, in bounded batches: it sends checks that are due and removes what is old."""

from __future__ import annotations

from kube_job_runner import ports
from kube_job_runner.services.retention import Retention
from kube_job_runner.settings.groups import RetentionSettings
from kube_job_runner.telemetry import metrics

_BATCH = 500
_REARM_SECONDS = 60.0  # if a `Check` is lost, the next one comes this much later


class Sweeper:
    """Looks for what is due. Any number may run at once: rows are skipped while another sweeper holds them."""

    def __init__(
        self, *, store: ports.SweepStore, logs: ports.LogKeeper, clock: ports.Clock, settings: RetentionSettings
    ) -> None:
        self._store = store
        self._retention = Retention(store=store, logs=logs, clock=clock, settings=settings)

    async def run_once(self) -> dict[str, int]:
        """Do one round; return how much of each duty was done. A full batch means that there is more to do.

        Raises:
            LeaseLost: another process sweeps now.
            TemporaryError: the store does not answer.
        """
        counts = {"checks": await self._store.send_due_checks(limit=_BATCH, rearm_seconds=_REARM_SECONDS)}
        metrics.checks_sent.inc(counts["checks"])
        return counts | await self._retention.run_once()

    @staticmethod
    def more_to_do(counts: dict[str, int]) -> bool:
        """Return whether a round left checks behind because its batch was full. Retention has its own pace."""
        return counts["checks"] >= _BATCH
