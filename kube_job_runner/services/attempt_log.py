"""The log of one attempt: every container of it read to its end, stored as it comes, and given up with a reason.

One that has ended costs one request per container; one that runs for longer, is read by somebody or is being stopped is
followed.
"""

from __future__ import annotations

import asyncio
import contextlib
from datetime import datetime

import msgspec

from kube_job_runner.domain import backoff, names
from kube_job_runner.domain.backoff import Backoff
from kube_job_runner.domain.errors import ClusterRefused, NotFound, TemporaryError
from kube_job_runner.domain.job import LogStatus
from kube_job_runner.domain.limits import Bounds
from kube_job_runner.domain.logs.chunks import Chunk
from kube_job_runner.ports import ClusterLogs, LogCollectStore, LogWork, LogWrite
from kube_job_runner.services.chunk_writer import ChunkWriter
from kube_job_runner.services.log_stream import Stream
from kube_job_runner.settings.groups import CollectSettings
from kube_job_runner.telemetry import loggers, metrics

log = loggers.get_logger(__name__)


class Lost(msgspec.Struct, frozen=True):
    """Why a log cannot be had: a code for metrics, and a sentence."""

    code: str
    text: str


class CollectPace(msgspec.Struct, frozen=True, kw_only=True):
    """How the log-collector works: its lease, its snapshots at once, and the pauses of its loops."""

    lease_seconds: float = 30.0
    snapshots_max: int = 16
    poll_seconds: float = 1.0
    pace_seconds: float = 0.25
    first_flush_seconds: float = 0.1
    flush_seconds: float = 0.3
    quiet_flush_seconds: float = 2.0
    retry_seconds: float = 0.5
    retry_max_seconds: float = 10.0


class AttemptLog:
    """Collects the log of one attempt: all its containers, to their end."""

    def __init__(
        self,
        work: LogWork,
        *,
        cluster: ClusterLogs,
        store: LogCollectStore,
        writer: ChunkWriter,
        settings: CollectSettings,
        bounds: Bounds,
        pace: CollectPace,
        slots: asyncio.Semaphore,
    ) -> None:
        self.work = work
        self.following = not work.ended
        self.waiting = False
        self.done = False
        self.lost = False
        self._cluster = cluster
        self._store = store
        self._writer = writer
        self._settings = settings
        self._bounds = bounds
        self._pace = pace
        self._slots = slots
        self._changed = asyncio.Event()
        self._writing = asyncio.Lock()
        self._streams: dict[str, Stream] = {}
        self._status: LogStatus = work.status

    def update(self, work: LogWork) -> None:
        """Take note of how the attempt stands now."""
        moved = (work.ended, work.stopping, work.facts) != (self.work.ended, self.work.stopping, self.work.facts)
        self.work = work
        if moved:
            self._changed.set()

    async def run(self) -> None:
        """Work until the log is stored or lost.

        Raises:
            LogLeaseLost: it is somebody else's by now.
            TemporaryError: the store does not answer.
        """
        ticking = asyncio.create_task(self._tick(), name="log-flush")
        try:
            lost = await self._all_containers(ticking)
        finally:
            ticking.cancel()
            await asyncio.wait({ticking})  # to suppress its CancelledError would swallow one that is meant for us
            if not ticking.cancelled():
                ticking.exception()  # told above
        await self._finish(lost)

    async def _all_containers(self, ticking: asyncio.Task[None]) -> list[Lost]:
        """Read every container that there is, those too that show only later; end early when the lease is lost."""
        tasks: dict[str, asyncio.Task[Lost | None]] = {}
        try:
            while True:
                for name in _containers(self.work):
                    if name not in tasks:
                        tasks[name] = asyncio.create_task(self._container(name), name=f"log-{name}")
                changed = asyncio.create_task(self._changed.wait())
                try:
                    pending = [task for task in tasks.values() if not task.done()]
                    if pending:
                        await asyncio.wait([*pending, changed, ticking], return_when=asyncio.FIRST_COMPLETED)
                finally:
                    changed.cancel()
                for ended in [ticking, *tasks.values()]:
                    if ended.done():
                        ended.result()
                self._changed.clear()
                if all(task.done() for task in tasks.values()) and set(_containers(self.work)) <= set(tasks):
                    return [lost for task in tasks.values() if (lost := task.result()) is not None]
        finally:
            for task in tasks.values():
                task.cancel()
            await asyncio.gather(*tasks.values(), return_exceptions=True)

    async def _container(self, name: str) -> Lost | None:
        """Read one container to its end; None when all of it is there."""
        stream = Stream(self.work, name, cluster=self._cluster, store=self._store, max_bytes=self._settings.max_bytes)
        self._streams[name] = stream
        await stream.restore()
        pace = self._pace
        retries = Backoff(first_seconds=pace.retry_seconds, max_seconds=pace.retry_max_seconds, over=backoff.EXACT)
        whole = False
        while True:
            work = self.work
            over = work.ended or _has_ended(work, name)
            began, lost = stream.read_bytes, None
            try:
                ended = await self._read(stream, work, over=over)
            except NotFound as error:
                if whole:
                    return None  # its stream ended by itself before the pod went
                lost = Lost("NotFound", f"{error} ({_when(work)})")
            except ClusterRefused as error:
                lost = Lost("Forbidden", f"the cluster does not let us read it: {error}")
            except TemporaryError as error:
                whole = False
                late = work.decided_at is not None and work.ended
                waited_seconds = (work.now - work.decided_at).total_seconds() if late and work.decided_at else 0.0
                if waited_seconds >= self._bounds.log_deadline_seconds:
                    return Lost("Deadline", f"not within {self._bounds.log_deadline_seconds:g} s: {error}")
                log.info(
                    "log not read; trying again", action="log.read", pod=work.pod_name, container=name, error=str(error)
                )
            else:
                whole = ended
                # A kubelet that fails in the midst of a file ends its answer as if that were the end. What it may rotate is
                # asked for until nothing more comes.
                if over and ended and (stream.read_bytes == began or not stream.large):
                    return None
            if lost is not None and over:
                return lost
            if stream.read_bytes > began:
                retries.reset()
            await self._pause(retries.next(), over=over)

    async def _read(self, stream: Stream, work: LogWork, *, over: bool) -> bool:
        await self.flush()  # what will be asked for again must be in the store to be recognised
        if not work.pod_name:
            raise NotFound("its pod was never seen")
        if not over:
            return await self._until_over(stream, work)
        async with self._slots:
            return await stream.read(
                work.pod_name, follow=False, now=work.now, started_at=_started_at(work, stream.container)
            )

    async def _until_over(self, stream: Stream, work: LogWork) -> bool:
        """Follow; a container that never starts is left when its pod has ended."""
        started_at = _started_at(work, stream.container)
        reading = asyncio.create_task(stream.read(work.pod_name, follow=True, now=work.now, started_at=started_at))
        try:
            while not reading.done():
                changed = asyncio.create_task(self._changed.wait())
                await asyncio.wait({reading, changed}, timeout=1.0, return_when=asyncio.FIRST_COMPLETED)
                changed.cancel()
                if self.work.ended and not _has_run(self.work, stream.container):
                    return True
            return await reading
        finally:
            reading.cancel()
            await asyncio.wait({reading})
            if not reading.cancelled():
                reading.exception()  # told above, or of no interest any more

    async def _pause(self, seconds: float, *, over: bool) -> None:
        """Wait, but, before the end, no longer than until the attempt has changed."""
        if over:
            self.waiting = True
            try:
                await asyncio.sleep(seconds)
            finally:
                self.waiting = False
            return
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._changed.wait()

    async def _tick(self) -> None:
        """Store what has come, now and then: soon while somebody reads or a stop waits, else seldom."""
        pace = self._pace
        loop = asyncio.get_running_loop()
        await asyncio.sleep(pace.first_flush_seconds)
        last = loop.time()
        while True:
            eager = self.work.wanted or self.work.stopping or self._status != "following"
            due = last + (pace.flush_seconds if eager else pace.quiet_flush_seconds)
            if self.following and (loop.time() >= due or self._status != "following"):
                await self.flush(following=True)
                last = loop.time()
            elif any(stream.full for stream in self._streams.values()):
                await self.flush(following=True)
            await asyncio.sleep(pace.flush_seconds / 6)

    async def flush(self, *, following: bool = False) -> None:
        """Store what has come since the last time."""
        async with self._writing:
            chunks, dropped = self._take(final=False)
            fresh = following and self.work.stale and self._up_to_date()
            status: LogStatus | None = None
            if (chunks or following) and self._status != "following":
                status = "following"
            if not (chunks or dropped or fresh or status):
                return
            await self._write(
                LogWrite(key=self.work.key, status=status, fresh=fresh, chunks=tuple(chunks), drop=tuple(dropped))
            )
            self._status = status or self._status
            if fresh:
                self.work = msgspec.structs.replace(self.work, stale=False)

    async def _write(self, write: LogWrite) -> None:
        # Taken is taken, and nothing later may overtake it: a caller that is cancelled waits for its write all the same.
        writing = asyncio.ensure_future(self._writer.write(write))
        try:
            await asyncio.shield(writing)
        except asyncio.CancelledError:
            await writing
            raise

    def _take(self, *, final: bool) -> tuple[list[Chunk], list[tuple[str, int]]]:
        chunks, dropped = [], []
        for stream in self._streams.values():
            new, left_out = stream.take(final=final)
            chunks += new
            dropped += left_out
        return chunks, dropped

    def _up_to_date(self) -> bool:
        now = asyncio.get_running_loop().time()
        settle_seconds = self._pace.flush_seconds / 2
        return bool(self._streams) and all(
            stream.opened_at is not None and now - stream.opened_at >= settle_seconds
            for stream in self._streams.values()
        )

    async def _finish(self, lost: list[Lost]) -> None:
        text = "; ".join(dict.fromkeys(one.text for one in lost))
        if lost:
            for stream in self._streams.values():
                if stream.read_bytes:
                    stream.mark(f"the rest of the log is lost: {text}")
            metrics.logs_lost.labels(lost[0].code).inc()
            log.warning(
                "log lost", action="log.lose", job_id=str(self.work.job_id), attempt=self.work.attempt, why=text
            )
        async with self._writing:
            chunks, dropped = self._take(final=True)
            status: LogStatus = "lost" if lost else "stored"
            await self._write(
                LogWrite(
                    key=self.work.key,
                    status=status,
                    lost_reason=text,
                    chunks=tuple(chunks),
                    drop=tuple(dropped),
                )
            )
        self.done, self.lost = True, bool(lost)
        if self.work.decided_at is not None:
            lag_seconds = (self.work.now - self.work.decided_at).total_seconds()
            metrics.log_lag_seconds.observe(max(0.0, lag_seconds))


def _containers(work: LogWork) -> list[str]:
    pod = work.facts.pod
    if pod is None or not pod.containers:
        return [names.MAIN_CONTAINER]
    if not work.ended:
        return [c.name for c in pod.containers]
    # What is on the list has run, whether its pod was seen then or not.
    return [c.name for c in pod.containers if _has_run(work, c.name)] or [names.MAIN_CONTAINER]


def _has_run(work: LogWork, container: str) -> bool:
    pod = work.facts.pod
    found = pod.container(container) if pod is not None else None
    if found is None:
        return container == names.MAIN_CONTAINER
    return found.state == "running" or found.started_at is not None or found.restarts > 0


def _started_at(work: LogWork, container: str) -> datetime | None:
    """Return when a container started, for the first time and the only one."""
    pod = work.facts.pod
    found = pod.container(container) if pod is not None else None
    return found.started_at if found is not None and not found.restarts else None


def _has_ended(work: LogWork, container: str) -> bool:
    pod = work.facts.pod
    found = pod.container(container) if pod is not None else None
    return found is not None and found.state == "terminated"


def _when(work: LogWork) -> str:
    if work.lost_reason:
        return work.lost_reason
    pod = work.facts.pod
    if pod is not None and pod.gone:
        return "the pod had left the cluster before its log was read"
    return "the log was not there when it was read"
