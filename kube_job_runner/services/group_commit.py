"""Group commit: callers that wait at the same time share a commit, without a timer.

A caller puts its item into a queue. The next free committer takes all waiting items, up to a limit. One item alone is
committed at once; under load the batches grow by themselves.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, NamedTuple, TypeVar, cast

from kube_job_runner.domain.errors import TemporaryError

ItemT = TypeVar("ItemT")
OutcomeT = TypeVar("OutcomeT")


class _Waiting(NamedTuple, Generic[ItemT, OutcomeT]):
    """An item in the queue, and the future that its caller waits on."""

    item: ItemT
    future: asyncio.Future[OutcomeT]


class GroupCommit(Generic[ItemT, OutcomeT]):
    """Commits items in batches. `commit` stores a batch and returns one outcome for each item, in the same order.

    A batch holds at most `batch_max` items, and at most `batch_max_bytes` by `size_bytes`, but always one item.

    When every waiting item `can_wait`, a committer waits for more of them until `gather_seconds` after the last commit
    began.
    """

    def __init__(
        self,
        commit: Callable[[list[ItemT]], Awaitable[Sequence[OutcomeT]]],
        *,
        name: str,
        batch_max: int,
        committers: int = 2,
        batch_max_bytes: int = 0,
        size_bytes: Callable[[ItemT], int] = lambda _item: 0,
        gather_seconds: float = 0.0,
        can_wait: Callable[[ItemT], bool] = lambda _item: False,
    ) -> None:
        self._commit_batch = commit
        self._name = name
        self._committers = committers
        self._batch_max = batch_max
        self._batch_max_bytes = batch_max_bytes
        self._size_bytes = size_bytes
        self._gather_seconds = gather_seconds
        self._can_wait = can_wait
        self._committed_at = -gather_seconds
        self._queue: deque[_Waiting[ItemT, OutcomeT]] = deque()
        self._running: set[asyncio.Task[None]] = set()

    @property
    def waiting(self) -> int:
        return len(self._queue)

    @property
    def busy(self) -> bool:
        return bool(self._running)

    async def add(self, item: ItemT) -> OutcomeT:
        """Commit an item, and return its outcome.

        When `commit` raises a `TemporaryError`, every caller of the batch gets it. When it raises anything else, each item
        is committed alone, so that only the bad ones fail.
        """
        waiting = _Waiting[ItemT, OutcomeT](item, asyncio.get_running_loop().create_future())
        self._queue.append(waiting)
        if len(self._running) < self._committers:
            task = asyncio.create_task(self._commit_all(), name=self._name)
            self._running.add(task)
        return await waiting.future

    async def close(self) -> None:
        """Wait until every item is committed or has failed."""
        while self._running:
            await asyncio.wait(self._running)

    async def _commit_all(self) -> None:
        try:
            while self._queue:
                await self._gather()
                if self._queue:  # another committer may have taken all
                    await self._commit(self._next_batch())
        finally:
            # At once, not by a callback of the task: an item that is added before the callback runs would start no committer.
            self._running.discard(cast("asyncio.Task[None]", asyncio.current_task()))

    async def _gather(self) -> None:
        wait_seconds = self._committed_at + self._gather_seconds - asyncio.get_running_loop().time()
        if wait_seconds > 0 and all(self._can_wait(waiting.item) for waiting in self._queue):
            await asyncio.sleep(wait_seconds)

    def _next_batch(self) -> list[_Waiting[ItemT, OutcomeT]]:
        self._committed_at = asyncio.get_running_loop().time()
        batch = [self._queue.popleft()]
        size_bytes = self._size_bytes(batch[0].item)
        while self._queue and len(batch) < self._batch_max:
            size_bytes += self._size_bytes(self._queue[0].item)
            if size_bytes > self._batch_max_bytes > 0:
                break
            batch.append(self._queue.popleft())
        return batch

    async def _commit(self, batch: list[_Waiting[ItemT, OutcomeT]]) -> None:
        try:
            outcomes = await self._commit_batch([waiting.item for waiting in batch])
        except TemporaryError as error:
            _fail(batch, error)
        except Exception as error:  # noqa: BLE001 - whatever it is, it belongs to the callers
            if len(batch) == 1:
                _fail(batch, error)
                return
            for waiting in batch:
                await self._commit([waiting])
        except asyncio.CancelledError:
            _fail(batch, TemporaryError("the server is stopping"))
            raise
        else:
            for waiting, outcome in zip(batch, outcomes, strict=True):
                if not waiting.future.done():
                    waiting.future.set_result(outcome)


def _fail(batch: list[_Waiting[ItemT, OutcomeT]], error: Exception) -> None:
    for waiting in batch:
        if not waiting.future.done():
            waiting.future.set_exception(error)
