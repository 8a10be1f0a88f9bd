"""The sweeper's duties, each in bounded batches: send what is due, forget what is old."""

from __future__ import annotations

import msgspec

from kube_job_runner import ports, telemetry

_BATCH = 500
_REARM_SECONDS = 60.0  # should a `Check` be lost, the next one comes this much later
_HOUSEKEEPING_SECONDS = 60.0


class SweepSettings(msgspec.Struct, frozen=True, kw_only=True):
    """How old things get before they are forgotten, in seconds."""

    idempotency_ttl_seconds: float = 7 * 86_400.0
    job_retention_seconds: float = 30 * 86_400.0


class Sweeper:
    """Looks for what is due. Any number may run at once: rows are skipped while another sweeper holds them."""

    def __init__(
        self, *, store: ports.SweepStore, logs: ports.LogKeeper, clock: ports.Clock, settings: SweepSettings
    ) -> None:
        self._store = store
        self._logs = logs
        self._clock = clock
        self._settings = settings
        self._housekeeping_at = clock.monotonic()

    async def run_once(self) -> dict[str, int]:
        """Do one round; return how much of each duty was done. A full batch means that there is more to do.

        Raises:
            LeaseLost: another process sweeps now.
            TemporaryError: the store does not answer.
        """
        counts = {"checks": await self._store.send_due_checks(limit=_BATCH, rearm_seconds=_REARM_SECONDS)}
        telemetry.checks_sent.inc(counts["checks"])
        if self._clock.monotonic() >= self._housekeeping_at:
            counts["idempotency_keys"] = await self._store.expire_idempotency_keys(
                older_than_seconds=self._settings.idempotency_ttl_seconds, limit=_BATCH
            )
            counts["log_chunks"] = await self._logs.delete_old_logs(
                older_than_seconds=self._settings.job_retention_seconds, limit=_BATCH
            )
            counts["jobs"] = await self._store.delete_old_jobs(
                older_than_seconds=self._settings.job_retention_seconds, limit=_BATCH
            )
            if all(counts[duty] < _BATCH for duty in ("idempotency_keys", "log_chunks", "jobs")):
                self._housekeeping_at = self._clock.monotonic() + _HOUSEKEEPING_SECONDS
        return counts

    @staticmethod
    def more_to_do(counts: dict[str, int]) -> bool:
        """Tell whether a round left work behind because its batches were full."""
        return any(count >= _BATCH for count in counts.values())
