"""The log of one attempt: reads all containers, stores new output, and ends as `stored` or `lost`.

An attempt that has ended costs one request per container. One that runs for longer, is read by somebody or is being
stopped is followed.
"""

import asyncio
from uuid import UUID

import msgspec

from kube_job_runner.domain.backoff import Backoff
from kube_job_runner.domain.errors import TemporaryError
from kube_job_runner.domain.job import LogStatus
from kube_job_runner.domain.logs import containers
from kube_job_runner.domain.logs.chunks import Chunk
from kube_job_runner.ports import ClusterLogs, LogCollectStore, LogWork, LogWrite
from kube_job_runner.services.container_reader import CollectPace, ContainerReader, Lost, WorkInHand
from kube_job_runner.services.group_commit import GroupCommit
from kube_job_runner.services.log_stream import LogStream
from kube_job_runner.telemetry import loggers, metrics

log = loggers.get_logger(__name__)

_BATCH_WRITES = 200
_BATCH_BYTES = 4 * 1024 * 1024
_GATHER_SECONDS = 0.25  # under load, the end of a log waits this long for others that are stored with it
_RETRY_SECONDS = 0.1
_RETRY_MAX_SECONDS = 5.0


class LogLeaseLost(Exception):
    """Another collector works on this attempt now, or its log is complete."""


class ChunkWriter:
    """Stores the chunks of many streams, under the leases of one collector (`token`)."""

    def __init__(self, store: LogCollectStore, *, token: UUID, cleanup_delay_seconds: float) -> None:
        self._store = store
        self._token = token
        self._cleanup_delay_seconds = cleanup_delay_seconds
        self._commits: GroupCommit[LogWrite, bool] = GroupCommit(
            self._append,
            name="log-writer",
            batch_max=_BATCH_WRITES,
            batch_max_bytes=_BATCH_BYTES,
            size_bytes=lambda write: sum(len(chunk.data or b"") for chunk in write.chunks),
            gather_seconds=_GATHER_SECONDS,
            can_wait=lambda write: write.status in ("stored", "lost"),
        )

    async def write(self, write: LogWrite) -> None:
        """Store a write. Two writes of one attempt must not overlap.

        Raises:
            LogLeaseLost: nothing was stored, and nothing may be.
        """
        if not await self._commits.add(write):
            raise LogLeaseLost
        gaps = [chunk for chunk in write.chunks if chunk.mark and not chunk.size_bytes]
        metrics.log_gaps.inc(len(gaps))

    async def _append(self, writes: list[LogWrite]) -> list[bool]:
        """Return for each write whether it was stored, because its lease was still held."""
        retries = Backoff(first_seconds=_RETRY_SECONDS, max_seconds=_RETRY_MAX_SECONDS)
        while True:
            try:
                held = await self._store.append(
                    writes, token=self._token, cleanup_delay_seconds=self._cleanup_delay_seconds
                )
            except TemporaryError as error:
                log.warning("logs not stored; retrying", action="log.store", error=str(error), attempts=len(writes))
                await asyncio.sleep(retries.next())
            else:
                return [write.key in held for write in writes]


class AttemptLog:
    """Collects the log of one attempt: all its containers, to their end."""

    def __init__(
        self,
        work: LogWork,
        *,
        cluster: ClusterLogs,
        store: LogCollectStore,
        writer: ChunkWriter,
        max_bytes: int,
        deadline_seconds: float,
        pace: CollectPace,
        slots: asyncio.Semaphore,
    ) -> None:
        self.following = not work.ended
        self.done = False
        self.lost = False
        self.in_hand = WorkInHand(work)
        self._cluster = cluster
        self._store = store
        self._writer = writer
        self._max_bytes = max_bytes
        self._deadline_seconds = deadline_seconds
        self._pace = pace
        self._slots = slots
        self._writing = asyncio.Lock()
        self._streams: dict[str, LogStream] = {}
        self._status: LogStatus = work.status

    @property
    def work(self) -> LogWork:
        return self.in_hand.work

    async def run(self) -> None:
        """Work until the log is stored or lost.

        Raises:
            LogLeaseLost: another collector works on it now.
            TemporaryError: the store does not answer.
        """
        ticking = asyncio.create_task(self._tick(), name="log-flush")
        try:
            lost = await self._all_containers(ticking)
        finally:
            ticking.cancel()
            await asyncio.wait({ticking})  # suppressing its CancelledError would also suppress a cancel of this task
            if not ticking.cancelled():
                ticking.exception()  # raised above
        await self._finish(lost)

    async def _all_containers(self, ticking: asyncio.Task[None]) -> list[Lost]:
        """Read every container, also those that appear later. An error of `ticking` or of a reader ends all."""
        tasks: dict[str, asyncio.Task[Lost | None]] = {}
        changed = self.in_hand.changed
        try:
            while True:
                for name in self._names():
                    if name not in tasks:
                        tasks[name] = asyncio.create_task(self._reader(name).run(), name=f"log-{name}")
                changing = asyncio.create_task(changed.wait())
                try:
                    pending = [task for task in tasks.values() if not task.done()]
                    if pending:
                        await asyncio.wait([*pending, changing, ticking], return_when=asyncio.FIRST_COMPLETED)
                finally:
                    changing.cancel()
                for ended in [ticking, *tasks.values()]:
                    if ended.done():
                        ended.result()
                changed.clear()
                if all(task.done() for task in tasks.values()) and set(self._names()) <= set(tasks):
                    return [lost for task in tasks.values() if (lost := task.result()) is not None]
        finally:
            for task in tasks.values():
                task.cancel()
            await asyncio.gather(*tasks.values(), return_exceptions=True)

    def _names(self) -> list[str]:
        return containers.to_read(self.work.facts.newest_pod, ended=self.work.ended)

    def _reader(self, name: str) -> ContainerReader:
        stream = LogStream(self.work, name, cluster=self._cluster, store=self._store, max_bytes=self._max_bytes)
        self._streams[name] = stream
        return ContainerReader(
            stream,
            self.in_hand,
            deadline_seconds=self._deadline_seconds,
            pace=self._pace,
            slots=self._slots,
            flush=self.flush,
        )

    async def _tick(self) -> None:
        """Store new output from time to time: soon if somebody reads it or a stop waits for it, else seldom."""
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
        """Store the output since the last flush."""
        async with self._writing:
            chunks, dropped = self._take(final=False)
            fresh = following and self.work.stale and self._up_to_date()
            status: LogStatus | None = None
            if (chunks or following) and self._status != "following":
                status = "following"
            if not (chunks or dropped or fresh or status):
                return
            await self._write(LogWrite(key=self.work.key, status=status, fresh=fresh, chunks=chunks, drop=dropped))
            self._status = status or self._status
            if fresh:
                self.in_hand.work = msgspec.structs.replace(self.work, stale=False)

    async def _write(self, write: LogWrite) -> None:
        # No later write may overtake this one, so a caller that is cancelled waits for it all the same.
        writing = asyncio.ensure_future(self._writer.write(write))
        try:
            await asyncio.shield(writing)
        except asyncio.CancelledError:
            await writing
            raise

    def _take(self, *, final: bool) -> tuple[tuple[Chunk, ...], tuple[tuple[str, int], ...]]:
        taken = [stream.take(final=final) for stream in self._streams.values()]
        return tuple(chunk for chunks, _ in taken for chunk in chunks), tuple(seq for _, drop in taken for seq in drop)

    def _up_to_date(self) -> bool:
        """Whether every stream has been open for long enough to have received what the cluster had."""
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
            await self._write(LogWrite(key=self.work.key, status=status, lost_reason=text, chunks=chunks, drop=dropped))
        self.done, self.lost = True, bool(lost)
        if self.work.decided_at is not None:
            lag_seconds = (self.work.now - self.work.decided_at).total_seconds()
            metrics.log_lag_seconds.observe(max(0.0, lag_seconds))
