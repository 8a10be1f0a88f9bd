"""The log-collector's work: claims attempts whose logs are due, and collects them.

An attempt is on the list in the store from its start until its log is stored or lost. When a collector dies, its leases
run out, and the next collector continues from what is stored.
"""

import asyncio
import contextlib
import uuid
from datetime import datetime

from kube_job_runner import ports
from kube_job_runner.domain.errors import TemporaryError
from kube_job_runner.domain.limits import Bounds
from kube_job_runner.domain.record import trace
from kube_job_runner.ports import Clock, ClusterLogs, LogCollectStore, LogKey, LogWork, Wakeup
from kube_job_runner.services.attempt_log import AttemptLog, ChunkWriter, LogLeaseLost
from kube_job_runner.services.cluster_identity import IdentityCheck
from kube_job_runner.services.container_reader import CollectPace
from kube_job_runner.settings.groups import CollectSettings
from kube_job_runner.telemetry import loggers, metrics

log = loggers.get_logger(__name__)

DEFAULT_PACE = CollectPace()
_CLOSE_SECONDS = 10.0
_WAITING_PER_SLOT = 64


class Collector:
    """Claims attempts and collects their logs. Any number of collectors may run at once."""

    def __init__(
        self,
        *,
        store: LogCollectStore,
        cluster: ClusterLogs,
        wakeup: Wakeup,
        clock: Clock,
        settings: CollectSettings,
        bounds: Bounds,
        pace: CollectPace = DEFAULT_PACE,
        identity: IdentityCheck | None = None,
        tracer: ports.Tracer | None = None,
    ) -> None:
        self._tracer = tracer
        self._identity = identity
        self._store = store
        self._cluster = cluster
        self._wakeup = wakeup
        self._clock = clock
        self._settings = settings
        self._bounds = bounds
        self._pace = pace
        self._token = uuid.uuid4()
        self._writer = ChunkWriter(store, token=self._token, cleanup_delay_seconds=bounds.cleanup_delay_seconds)
        self._slots = asyncio.Semaphore(pace.snapshots_max)
        self._logs: dict[LogKey, AttemptLog] = {}
        self._tasks: dict[LogKey, asyncio.Task[None]] = {}
        self._renewed_at = clock.monotonic()
        self._looked_at = clock.monotonic()

    @property
    def busy(self) -> int:
        return len(self._tasks)

    async def run_once(self) -> float:
        """Claim new work and renew the leases; return the seconds to pause before the next round.

        Raises:
            TemporaryError: the store does not answer.
            WrongCluster: the cluster is not the one that the database belongs to.
        """
        settings, pace = self._settings, self._pace
        if self._identity is not None and not await self._identity.known():
            # In another cluster no pod would be found, and every log would be lost.
            await self._wakeup.wait("jobs", timeout_seconds=pace.poll_seconds)
            return pace.pace_seconds
        following = sum(attempt.following for attempt in self._logs.values())
        metrics.log_follows.set(following)
        metrics.log_follows_max.set(settings.follows_max)
        # Logs of an unreachable node wait most of the time, and must not hold up the others.
        waiting = sum(attempt.in_hand.waiting for attempt in self._logs.values() if not attempt.following)
        room = 4 * pace.snapshots_max - (len(self._logs) - following - waiting) - waiting // _WAITING_PER_SLOT
        works = await self._store.claim(
            token=self._token,
            lease_seconds=pace.lease_seconds,
            ended_limit=max(0, room),
            follow_limit=max(0, settings.follows_max - following),
            follow_after_seconds=settings.follow_after_seconds,
        )
        for work in works:
            if work.key not in self._tasks:
                self._start(work)
        await self._look()
        if works and len(works) >= room:
            return pace.pace_seconds / 4
        await self._wakeup.wait("jobs", timeout_seconds=pace.poll_seconds)
        return pace.pace_seconds

    async def close(self) -> None:
        """Store the output that was read, and release all leases."""
        tasks = list(self._tasks.values())
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks, timeout=_CLOSE_SECONDS)
        metrics.log_follows.set(0)

    def _start(self, work: LogWork) -> None:
        attempt = AttemptLog(
            work,
            cluster=self._cluster,
            store=self._store,
            writer=self._writer,
            max_bytes=self._settings.max_bytes,
            deadline_seconds=self._bounds.log_deadline_seconds,
            pace=self._pace,
            slots=self._slots,
        )
        self._logs[work.key] = attempt
        task = asyncio.create_task(self._collect(attempt), name=f"log-{work.job_id}-{work.attempt}")
        self._tasks[work.key] = task
        task.add_done_callback(lambda _: self._forget(work.key))

    def _forget(self, key: LogKey) -> None:
        self._tasks.pop(key, None)
        self._logs.pop(key, None)

    async def _collect(self, attempt: AttemptLog) -> None:
        key = attempt.work.key
        delay_seconds = self._pace.retry_max_seconds
        began = self._clock.now()
        try:
            await attempt.run()
            self._trace(attempt, began)
        except LogLeaseLost:
            log.info(
                "another collector has the lease of this log", action="log.lease", job_id=str(key[0]), attempt=key[1]
            )
            return
        except asyncio.CancelledError:
            delay_seconds = 0.0
            with contextlib.suppress(LogLeaseLost, TemporaryError):
                await attempt.flush(following=attempt.following)
            raise
        except TemporaryError as error:
            log.warning("log not collected; retrying later", action="log.collect", job_id=str(key[0]), error=str(error))
        except Exception as error:
            log.error(
                "log not collected: an unexpected error",
                action="log.collect",
                job_id=str(key[0]),
                attempt=key[1],
                exc_info=error,
            )
        finally:
            if not attempt.done:
                with contextlib.suppress(TemporaryError, LogLeaseLost):
                    await self._store.release([key], token=self._token, delay_seconds=delay_seconds)

    def _trace(self, attempt: AttemptLog, began: datetime) -> None:
        if self._tracer is None:
            return
        work = attempt.work
        spans = trace.of_log(
            work.traceparent,
            work.key,
            started_at=began,
            ended_at=self._clock.now(),
            namespace=work.namespace,
            pod_name=work.pod_name,
            lost=attempt.lost,
        )
        self._tracer.record(spans)

    async def _look(self) -> None:
        """Renew the leases, and read the state of the followed attempts."""
        now, pace = self._clock.monotonic(), self._pace
        renew = now - self._renewed_at >= pace.lease_seconds / 3
        if not self._logs or not (renew or now - self._looked_at >= pace.flush_seconds):
            return
        self._looked_at = now
        keys = list(self._logs) if renew else [key for key, one in self._logs.items() if one.following]
        if not keys:
            return
        works = await self._store.renew(keys, token=self._token, lease_seconds=pace.lease_seconds if renew else 0.0)
        if renew:
            self._renewed_at = now
        seen = {work.key: work for work in works}
        for key in keys:
            attempt, task = self._logs.get(key), self._tasks.get(key)
            if attempt is None or task is None:
                continue
            if key in seen:
                attempt.in_hand.update(seen[key])
            elif renew and not attempt.done:
                task.cancel()  # the lease ran out: the next holder continues from what is stored
