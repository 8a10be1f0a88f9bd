"""What is needed of the store of logs, split by who needs it: the log-collector, readers, and the sweeper."""

from __future__ import annotations

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
    """An attempt whose log is to be collected, as of `now` on the database's clock.

    `ended`: nothing of it prints any more. `stopping`: its stop waits for us. `wanted`: somebody reads it now.
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
        """The attempt."""
        return (self.job_id, self.attempt)


class LogWrite(msgspec.Struct, frozen=True, kw_only=True):
    """What to store of an attempt's log. `status` None leaves it; `stored` and `lost` end the work on it.

    `drop` are (container, seq) of chunks that the cap leaves out; `fresh` says that all that the cluster had is stored.
    """

    key: LogKey
    status: LogStatus | None = None
    lost_reason: str = ""
    fresh: bool = False
    chunks: tuple[Chunk, ...] = ()
    drop: tuple[tuple[str, int], ...] = ()


class StoredLog(msgspec.Struct, frozen=True, kw_only=True):
    """What is stored of one container: its chunks without their data, and the body of the last when it may grow."""

    chunks: tuple[Chunk, ...] = ()
    last: Body | None = None


class LogCollectStore(Protocol):
    """What the log-collector does with the store. A lease is held by its `token`; what is written without it is ignored."""

    async def claim(
        self, *, token: UUID, lease_seconds: float, ended_limit: int, follow_limit: int, follow_after_seconds: float
    ) -> list[LogWork]:
        """Lease attempts that have ended, and such that are to be followed: being stopped, read now, or running so long."""
        ...

    async def renew(self, keys: Collection[LogKey], *, token: UUID, lease_seconds: float) -> list[LogWork]:
        """Extend the leases that are still held (with 0 seconds leave them), and tell how those attempts stand. No others."""
        ...

    async def release(self, keys: Collection[LogKey], *, token: UUID, delay_seconds: float) -> None:
        """Give leases back, to be claimed again after a delay."""
        ...

    async def stored(self, key: LogKey, container: str) -> StoredLog:
        """Return what is stored of a container, to go on from there."""
        ...

    async def stamps_since(self, key: LogKey, container: str, stamp: int) -> list[int]:
        """Return the stamps of the stored lines that are not older than `stamp`, in their order."""
        ...

    async def append(
        self, writes: Sequence[LogWrite], *, token: UUID, cleanup_delay_seconds: float
    ) -> frozenset[LogKey]:
        """Store all that in one commit, with a `Check` for each job whose stop or removal waited for it.

        Returns the attempts whose lease is still held; of the others nothing was stored.
        """
        ...


class LogState(msgspec.Struct, frozen=True, kw_only=True):
    """How the log of an attempt stands. `fresh`: up to date since somebody last asked for it; `removed_at`: by retention."""

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
    """One container's log: how many lines and bytes of it there were, with those that are left out."""

    container: str
    lines: int
    total_bytes: int


class LogReader(Protocol):
    """What readers of logs need. Any number of chunks lies between two calls only as long as a reader wants it."""

    async def log_state(self, key: LogKey) -> LogState | None:
        """Return how the log of an attempt stands; None when there is none to be had (yet, or ever)."""
        ...

    async def want_log(self, key: LogKey) -> None:
        """Note that somebody reads a log that is not complete, and wake the log-collector."""
        ...

    async def containers(self, key: LogKey) -> list[ContainerLog]:
        """Return the containers of which something is stored."""
        ...

    async def find_chunk(self, key: LogKey, container: str, *, line: int = 0, stamp: int = 0) -> int:
        """Return the number of the first chunk that holds line `line` or later, or anything printed since `stamp`; else 0."""
        ...

    async def read_chunks(self, key: LogKey, container: str, *, from_seq: int, limit: int) -> list[Chunk]:
        """Return chunks with their data, in order, from number `from_seq` on."""
        ...

    async def log_versions(self, keys: Collection[LogKey]) -> dict[LogKey, int]:
        """Return the present version of each of these logs; unknown ones are left out. One query for any number."""
        ...


class LogsExpired(msgspec.Struct, frozen=True, kw_only=True):
    """How many logs one batch removed to their end, and how many chunks of logs."""

    logs: int
    chunks: int


class LogKeeper(Protocol):
    """What the sweeper does with logs."""

    async def expire_logs(self, *, older_than_seconds: float, limit: int) -> LogsExpired:
        """Remove logs that have been complete for so long, at most `limit` logs and chunks, and note when; their jobs stay."""
        ...

    async def delete_old_logs(self, *, older_than_seconds: float, limit: int) -> int:
        """Remove chunks of jobs that ended so long ago, at most `limit`; return how many."""
        ...
