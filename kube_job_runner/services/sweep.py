"""The duties of the sweeper, in bounded batches: it sends checks that are due and removes what is old.

Jobs, their history, their logs, dead letters and idempotency keys are removed each after its own time.
"""

from kube_job_runner import ports
from kube_job_runner.settings.groups import RetentionSettings
from kube_job_runner.telemetry import loggers, metrics

log = loggers.get_logger(__name__)

BATCH = 500
_REARM_SECONDS = 60.0  # if a `Check` is lost, the next one comes this much later
ROUND_SECONDS = 60.0
HISTORY_ROUND_SECONDS = 600.0  # each round reads through the history of old jobs that have not ended
PAUSE_SECONDS = 0.1
PAUSE_MAX_SECONDS = 30.0
PAUSE_FACTOR = 2.0  # at most a third of the time is spent on removing


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
        counts = {"checks": await self._store.send_due_checks(limit=BATCH, rearm_seconds=_REARM_SECONDS)}
        metrics.checks_sent.inc(counts["checks"])
        return counts | await self._retention.run_once()

    @staticmethod
    def more_to_do(counts: dict[str, int]) -> bool:
        """Return whether a round left checks behind because its batch was full. Retention has its own pace."""
        return counts["checks"] >= BATCH


class Retention:
    """Removes what is old. Any number may run at once: rows are skipped while another one holds them.

    The pause after a batch grows with the time that the batch took, and is long while PostgreSQL's vacuum has not cleaned up
    after it. So even a backlog of a year does not slow down other work.
    """

    def __init__(
        self, *, store: ports.RetentionStore, logs: ports.LogKeeper, clock: ports.Clock, settings: RetentionSettings
    ) -> None:
        self._store = store
        self._logs = logs
        self._clock = clock
        self._settings = settings
        self._next_at = self._history_at = clock.monotonic()

    async def run_once(self) -> dict[str, int]:
        """Remove one batch of each kind, if it is time to; return how many of each."""
        began = self._clock.monotonic()
        if began < self._next_at:
            return {}
        counts: dict[str, int] = {}
        more = await self._remove(counts)
        for kind, count in counts.items():
            metrics.retention_deleted.labels(kind).inc(count)
        self._next_at = self._clock.monotonic() + (await self._pause_seconds(began) if more else ROUND_SECONDS)
        return counts

    async def _remove(self, counts: dict[str, int]) -> bool:
        """Remove a batch of each kind; return whether one of them was full."""
        keep, store = self._settings, self._store
        keys = await store.expire_idempotency_keys(older_than_seconds=keep.idempotency_seconds, limit=BATCH)
        letters = await store.delete_old_dead_letters(older_than_seconds=keep.dead_letters_seconds, limit=BATCH)
        logs = await self._logs.expire_logs(older_than_seconds=keep.logs_seconds, limit=BATCH)
        chunks = await self._logs.delete_old_logs(older_than_seconds=keep.jobs_seconds, limit=BATCH)
        jobs = await store.delete_old_jobs(older_than_seconds=keep.jobs_seconds, limit=BATCH)
        counts |= {"idempotency_keys": keys, "dead_letters": letters, "jobs": jobs}
        counts |= {"logs": logs.logs, "log_chunks": logs.chunks + chunks}
        more = max(keys, letters, jobs, logs.logs, logs.chunks, chunks) >= BATCH
        if self._clock.monotonic() >= self._history_at:
            history = await store.delete_old_transitions(older_than_seconds=keep.transitions_seconds, limit=BATCH)
            counts["transitions"] = history.deleted
            if not history.more:
                self._history_at = self._clock.monotonic() + HISTORY_ROUND_SECONDS
            more = more or history.more
        return more

    async def _pause_seconds(self, began: float) -> float:
        behind = await self._store.vacuum_behind()
        if behind is not None:
            log.info(
                "retention waits for vacuum", action="retention.wait", table=behind, pause_seconds=PAUSE_MAX_SECONDS
            )
            metrics.retention_waits.inc()
            return PAUSE_MAX_SECONDS
        took_seconds = self._clock.monotonic() - began
        return min(max(PAUSE_SECONDS, PAUSE_FACTOR * took_seconds), PAUSE_MAX_SECONDS)
