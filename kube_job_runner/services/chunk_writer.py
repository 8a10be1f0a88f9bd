"""Writes the log chunks of many streams in shared commits. While the store is unreachable, it retries and they wait."""

from __future__ import annotations

import asyncio
from uuid import UUID

from kube_job_runner.domain.backoff import Backoff
from kube_job_runner.domain.errors import TemporaryError
from kube_job_runner.ports import LogCollectStore, LogWrite
from kube_job_runner.services.group_commit import GroupCommit
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
            size_bytes=_size_bytes,
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
        """Return of each write whether its lease was held, and so whether it was stored."""
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


def _size_bytes(write: LogWrite) -> int:
    return sum(len(chunk.data) for chunk in write.chunks if chunk.data is not None)
