"""Shared reads: what all followers of a log read after one change is read once.

The hub sees a change of a log and wakes its followers. What is read after that look is new enough for each of them. So the first
one reads, and the others take its answer. A read of chunks also begins after the read of the state that comes before it, or
the state could say "complete" of chunks that are not.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Hashable
from typing import Any, NamedTuple, Protocol

from kube_job_runner.domain.logs.chunks import Chunk
from kube_job_runner.ports import LogKey, LogReader, LogState

KEPT = 64


class LogReads(Protocol):
    """The reads of a follower, of the store itself or shared."""

    async def log_state(self, key: LogKey) -> LogState | None: ...

    async def read_chunks(self, key: LogKey, container: str, *, from_seq: int, limit: int) -> list[Chunk]: ...


class _Read(NamedTuple):
    look: int
    state_at: int
    task: asyncio.Task[Any]


class SharedReads:
    """The last reads of all followers."""

    def __init__(self, logs: LogReader) -> None:
        self._logs = logs
        self._reads: OrderedDict[Hashable, _Read] = OrderedDict()
        self._ended = 0

    def after_look(self, look: int) -> "_AfterLook":
        """Return reads that are at least as new as that look of the hub."""
        return _AfterLook(self, self._logs, look)

    @property
    def ended(self) -> int:
        """How many reads have ended: the moment of now."""
        return self._ended

    async def one(self, what: Hashable, read: Callable[[], Awaitable[Any]], *, look: int, state_at: int) -> Any:
        """Return the answer of a read that began after that look and that moment; begin it if there is none.

        An error is the caller's own: a read that failed is not shared with those that come later.
        """
        found = self._reads.get(what)
        if found is None or found.look < look or found.state_at < state_at or _failed(found.task):
            task = asyncio.ensure_future(self._counted(read))
            task.add_done_callback(_failed)  # also when nobody waits for it any more
            found = self._reads[what] = _Read(look, self._ended, task)
            self._reads.move_to_end(what)
            while len(self._reads) > KEPT:
                self._reads.popitem(last=False)
        return await asyncio.shield(found.task)

    async def _counted(self, read: Callable[[], Awaitable[Any]]) -> Any:
        try:
            return await read()
        finally:
            self._ended += 1


class _AfterLook:
    """`LogReads` that are shared among the followers that one look has woken."""

    def __init__(self, shared: SharedReads, logs: LogReader, look: int) -> None:
        self._shared = shared
        self._logs = logs
        self._look = look
        self._state_at = 0

    async def log_state(self, key: LogKey) -> LogState | None:
        async def read() -> tuple[LogState | None, int]:
            return await self._logs.log_state(key), self._shared.ended + 1  # the number that this read gets

        state, self._state_at = await self._shared.one(key, read, look=self._look, state_at=0)
        found: LogState | None = state
        return found

    async def read_chunks(self, key: LogKey, container: str, *, from_seq: int, limit: int) -> list[Chunk]:
        chunks: list[Chunk] = await self._shared.one(
            (key, container, from_seq, limit),
            lambda: self._logs.read_chunks(key, container, from_seq=from_seq, limit=limit),
            look=self._look,
            state_at=self._state_at,
        )
        return chunks


def _failed(task: asyncio.Task[Any]) -> bool:
    return task.done() and (task.cancelled() or task.exception() is not None)
