"""Logs: the work list of the log-collector, and chunks, with their bodies or as the index of an object store."""

from __future__ import annotations

import time
from collections.abc import Collection, Iterable, Sequence
from typing import Any
from uuid import UUID

from kube_job_runner.adapters.postgres import message_queue, rows, statements, wakeup
from kube_job_runner.adapters.postgres.columns import Row
from kube_job_runner.adapters.postgres.pool import Connection, Pool, changed_rows
from kube_job_runner.adapters.postgres.tolerant_json import TolerantDecoder
from kube_job_runner.domain import messages
from kube_job_runner.domain.facts import AttemptFacts
from kube_job_runner.domain.logs.chunks import Chunk, decode_body
from kube_job_runner.ports import ContainerLog, LogKey, LogsExpired, LogState, LogWork, LogWrite, StoredLog

SQL = statements.load("logs")
SEND = statements.load("queue")["send"]

MARK_SECONDS = 60.0
"""How long after its end an attempt is claimed at the latest, if the commit that ended it did not note that."""

_facts: TolerantDecoder[AttemptFacts] = TolerantDecoder(AttemptFacts)


class PostgresLogStore:
    """`LogCollectStore`, `LogReader` and `LogKeeper` on PostgreSQL."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._marked_at: float | None = None

    # --- The collector ---

    async def claim(
        self, *, token: UUID, lease_seconds: float, ended_limit: int, follow_limit: int, follow_after_seconds: float
    ) -> list[LogWork]:
        await self._mark_ended()
        claimed = await self._pool.fetch(
            SQL["claim"], token, lease_seconds, ended_limit, follow_limit, follow_after_seconds
        )
        if not claimed:
            return []
        return await self._work([(row["job_id"], row["attempt"]) for row in claimed], token)

    async def _mark_ended(self) -> None:
        """Find, at the first claim and then once a minute, the ends that were not noted: old processors do not note them."""
        if self._marked_at is None or time.monotonic() - self._marked_at >= MARK_SECONDS:
            await self._pool.execute(SQL["mark_ended"])
            self._marked_at = time.monotonic()

    async def renew(self, keys: Collection[LogKey], *, token: UUID, lease_seconds: float) -> list[LogWork]:
        if not keys:
            return []
        if lease_seconds > 0:
            await self._pool.execute(SQL["renew"], *_keys(keys), token, lease_seconds)
        return await self._work(keys, token)

    async def _work(self, keys: Collection[LogKey], token: UUID) -> list[LogWork]:
        return [_work(row) for row in await self._pool.fetch(SQL["work"], *_keys(keys), token)]

    async def release(self, keys: Collection[LogKey], *, token: UUID, delay_seconds: float) -> None:
        if keys:
            await self._pool.execute(SQL["release"], *_keys(keys), token, delay_seconds)

    async def stored(self, key: LogKey, container: str) -> StoredLog:
        chunks = tuple(rows.chunk(row) for row in await self._pool.fetch(SQL["stored"], *key, container))
        last = chunks[-1] if chunks else None
        body = decode_body(last.data) if last is not None and last.data is not None else None
        return StoredLog(chunks=chunks, last=body)

    async def stamps_since(self, key: LogKey, container: str, stamp: int) -> list[int]:
        found: list[int] = []
        for chunk in await self.chunks_since(key, container, stamp):
            if chunk.data is not None:
                found += [one for one in decode_body(chunk.data).stamps if one >= stamp]
        return found

    async def chunks_since(self, key: LogKey, container: str, stamp: int) -> list[Chunk]:
        """Return the chunks with lines that are not older than `stamp`."""
        return [rows.chunk(row) for row in await self._pool.fetch(SQL["chunks_since"], *key, container, stamp)]

    async def append(
        self, writes: Sequence[LogWrite], *, token: UUID, cleanup_delay_seconds: float
    ) -> frozenset[LogKey]:
        async def work(connection: Connection) -> frozenset[LogKey]:
            locked = await connection.fetch(SQL["hold"], token, *rows.LOG_WRITES.encode(writes))
            held = frozenset((row["job_id"], row["attempt"]) for row in locked)
            kept = [write for write in writes if write.key in held]
            dropped = [(*write.key, container, seq) for write in kept for container, seq in write.drop]
            if dropped:
                await connection.execute(SQL["drop_chunks"], *zip(*dropped, strict=True))
            chunks = [(write.key, chunk) for write in kept for chunk in write.chunks]
            if chunks:
                keys, bodies = zip(*chunks, strict=True)
                await connection.execute(SQL["put_chunks"], *zip(*keys, strict=True), *rows.CHUNKS.encode(bodies))
            checks = await self._checks(connection, kept, cleanup_delay_seconds)
            hints = [*([wakeup.LOGS] if kept else []), *message_queue.hints(checks)]
            await connection.fetch(SEND, hints, *rows.MESSAGES.encode(checks))
            return held

        return await self._pool.run(work, transaction=True)

    async def _checks(
        self, connection: Connection, writes: Iterable[LogWrite], cleanup_delay_seconds: float
    ) -> list[messages.Outgoing]:
        moved = [(*w.key, w.status in ("stored", "lost")) for w in writes if w.status is not None]
        if not moved:
            return []
        waiting = await connection.fetch(SQL["to_check"], *zip(*moved, strict=True), cleanup_delay_seconds)
        return [messages.Outgoing(message=messages.Check(job_id=row["job_id"])) for row in waiting]

    # --- Readers ---

    async def log_state(self, key: LogKey) -> LogState | None:
        row = await self._pool.fetchrow(SQL["log_state"], *key)
        return None if row is None else LogState(**row)

    async def want_log(self, key: LogKey) -> None:
        await self._pool.fetch(SQL["want_log"], *key)

    async def containers(self, key: LogKey) -> list[ContainerLog]:
        return [ContainerLog(**row) for row in await self._pool.fetch(SQL["containers"], *key)]

    async def find_chunk(self, key: LogKey, container: str, *, line: int = 0, stamp: int = 0) -> int:
        if line > 0:
            row = await self._pool.fetchrow(SQL["chunk_of_line"], *key, container, line)
        else:
            row = await self._pool.fetchrow(SQL["chunk_of_stamp"], *key, container, stamp)
        return 0 if row is None else int(row["seq"])

    async def read_chunks(self, key: LogKey, container: str, *, from_seq: int, limit: int) -> list[Chunk]:
        found = await self._pool.fetch(SQL["read_chunks"], *key, container, from_seq, limit)
        return [rows.chunk(row) for row in found]

    async def log_versions(self, keys: Collection[LogKey]) -> dict[LogKey, int]:
        if not keys:
            return {}
        found = await self._pool.fetch(SQL["log_versions"], *_keys(keys))
        return {(row["job_id"], row["attempt"]): row["version"] for row in found}

    # --- The sweeper ---

    async def delete_old_logs(self, *, older_than_seconds: float, limit: int) -> int:
        return len(await self.take_old_chunks(older_than_seconds=older_than_seconds, limit=limit))

    async def take_old_chunks(self, *, older_than_seconds: float, limit: int) -> list[TakenChunk]:
        """Remove chunks of jobs that ended that long ago, at most `limit`; return which."""
        return _taken(await self._pool.fetch(SQL["old_chunks"], older_than_seconds, limit))

    async def expire_logs(self, *, older_than_seconds: float, limit: int) -> LogsExpired:
        expired, _ = await self.take_expired(older_than_seconds=older_than_seconds, limit=limit)
        return expired

    async def take_expired(self, *, older_than_seconds: float, limit: int) -> tuple[LogsExpired, list[TakenChunk]]:
        """Remove logs as `expire_logs` does; return also which chunks were removed."""

        async def work(connection: Connection) -> tuple[LogsExpired, list[TakenChunk]]:
            old = await connection.fetch(SQL["logs_to_expire"], older_than_seconds, limit)
            if not old:
                return LogsExpired(logs=0, chunks=0), []
            keys = [[row["job_id"] for row in old], [row["attempt"] for row in old]]
            taken = _taken(await connection.fetch(SQL["expire_chunks"], *keys, limit))
            # A separate statement, because it must see what the one before has removed.
            marked = await connection.execute(SQL["mark_expired"], *keys)
            return LogsExpired(logs=changed_rows(marked), chunks=len(taken)), taken

        return await self._pool.run(work, transaction=True)


TakenChunk = tuple[LogKey, str, int, bool]
"""A chunk that was removed: attempt, container, number, and whether it had a body. A mark has none."""


def _taken(gone: Iterable[Row]) -> list[TakenChunk]:
    return [((row["job_id"], row["attempt"]), row["container"], row["seq"], not row["mark"]) for row in gone]


def _keys(keys: Collection[LogKey]) -> list[list[Any]]:
    ordered = sorted(keys)
    return [[job_id for job_id, _ in ordered], [attempt for _, attempt in ordered]]


def _work(row: Any) -> LogWork:
    fields = dict(row)
    return LogWork(**fields | {"facts": _facts.decode(fields["facts"])})
