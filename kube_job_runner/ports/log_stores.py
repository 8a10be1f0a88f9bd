"""Ports of the log store, split by user: the log-collector, readers, and the sweeper."""

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Protocol
from uuid import UUID

import msgspec

from kube_job_runner.domain.facts import AttemptFacts
from kube_job_runner.domain.job import LogStatus
from kube_job_runner.domain.logs.chunks import Body, Chunk

LogKey = tuple[UUID, int]
"""A job and the number of its attempt."""


class LogWork(msgspec.Struct, frozen=True, kw_only=True):
    """An attempt whose log is due, as of `now` on the database's clock.

    `ended`: none of its containers runs any more. `stopping`: its stop waits for the log. `wanted`: somebody reads the log.
    `stale`: output since the last request for the log is not yet stored.
    """

    job_id: UUID
    attempt: int
    namespace: str
    pod_name: str
    status: LogStatus = ""
    lost_reason: str = ""
    ended: bool = False
    stopping: bool = False
    wanted: bool = False
    stale: bool = False
    decided_at: datetime | None = None
    facts: AttemptFacts = AttemptFacts()
    traceparent: str | None = None
    now: datetime

    @property
    def key(self) -> LogKey:
        """The key of the attempt."""
        return (self.job_id, self.attempt)


class LogWrite(msgspec.Struct, frozen=True, kw_only=True):
    """What to store of an attempt's log. A `status` of None keeps the current one; `stored` and `lost` end the work.

    `drop` holds (container, seq) of the chunks that the cap leaves out. `fresh`: all that the cluster had is stored.
    """

    key: LogKey
    status: LogStatus | None = None
    lost_reason: str = ""
    fresh: bool = False
    chunks: tuple[Chunk, ...] = ()
    drop: tuple[tuple[str, int], ...] = ()


class StoredLog(msgspec.Struct, frozen=True, kw_only=True):
    """The stored chunks of one container, without their data, and the body of the last one if it may still grow."""

    chunks: tuple[Chunk, ...] = ()
    last: Body | None = None


class LogCollectStore(Protocol):
    """The log-collector's store. The `token` holds the leases; a write without its lease is ignored."""

    async def claim(
        self, *, token: UUID, lease_seconds: float, ended_limit: int, follow_limit: int, follow_after_seconds: float
    ) -> list[LogWork]:
        """Lease attempts that have ended, and attempts to follow: those that stop, are read, or run for that long."""
        ...

    async def renew(self, keys: Collection[LogKey], *, token: UUID, lease_seconds: float) -> list[LogWork]:
        """Extend the leases that are still held (0 seconds: leave them), and return the current state of those attempts."""
        ...

    async def release(self, keys: Collection[LogKey], *, token: UUID, delay_seconds: float) -> None:
        """Release leases; others may claim the attempts after a delay."""
        ...

    async def stored(self, key: LogKey, container: str) -> StoredLog:
        """Return what is stored of a container, to continue from there."""
        ...

    async def stamps_since(self, key: LogKey, container: str, stamp: int) -> list[int]:
        """Return the stamps of the stored lines that are not older than `stamp`, in order."""
        ...

    async def append(
        self, writes: Sequence[LogWrite], *, token: UUID, cleanup_delay_seconds: float
    ) -> frozenset[LogKey]:
        """Store all writes in one commit, with a `Check` for each job whose stop or removal waited for its log.

        Returns the attempts whose lease is still held. Nothing was stored of the others.
        """
        ...


class LogState(msgspec.Struct, frozen=True, kw_only=True):
    """The state of an attempt's log. `fresh`: complete up to the last request for it. `removed_at`: removed by retention."""

    version: int
    status: LogStatus
    lost_reason: str = ""
    fresh: bool = False
    removed_at: datetime | None = None

    @property
    def done(self) -> bool:
        """Whether nothing more will be stored."""
        return self.status in ("stored", "lost")


class ContainerLog(msgspec.Struct, frozen=True, kw_only=True):
    """The size of one container's log, including the lines and bytes that the cap left out."""

    container: str
    lines: int
    total_bytes: int


class LogReader(Protocol):
    """What readers of logs need. A reader takes a few chunks with each call, at its own speed."""

    async def log_state(self, key: LogKey) -> LogState | None:
        """Return the state of an attempt's log, or None if there is no log (yet, or ever)."""
        ...

    async def want_log(self, key: LogKey) -> None:
        """Record that a reader wants an incomplete log, and wake the log-collector."""
        ...

    async def containers(self, key: LogKey) -> list[ContainerLog]:
        """Return the containers with stored chunks."""
        ...

    async def find_chunk(self, key: LogKey, container: str, *, line: int = 0, stamp: int = 0) -> int:
        """Return the number of the first chunk with `line` or a later line, or with a line since `stamp`; 0 if none has."""
        ...

    async def read_chunks(self, key: LogKey, container: str, *, from_seq: int, limit: int) -> list[Chunk]:
        """Return chunks with their data, in order, from number `from_seq` on."""
        ...

    async def log_versions(self, keys: Collection[LogKey]) -> dict[LogKey, int]:
        """Return the current version of each of these logs, in one query. Unknown logs are left out."""
        ...


class LogsExpired(msgspec.Struct, frozen=True, kw_only=True):
    """How many whole logs one batch removed, and how many chunks."""

    logs: int
    chunks: int


class LogKeeper(Protocol):
    """What the sweeper does with logs."""

    async def expire_logs(self, *, older_than_seconds: float, limit: int) -> LogsExpired:
        """Remove logs that were completed that long ago, at most `limit` logs and chunks, and note when. Their jobs stay."""
        ...

    async def delete_old_logs(self, *, older_than_seconds: float, limit: int) -> int:
        """Remove the chunks of jobs that ended that long ago, at most `limit`; return how many."""
        ...


class LogStore(LogCollectStore, LogReader, LogKeeper, Protocol):
    """All of a store of logs; an adapter offers this, and each component takes the part that it needs."""
