"""The bounded queue between the tasks of an informer and its consumer."""

import asyncio
from collections import deque
from collections.abc import Iterable
from typing import Generic, TypeVar

T = TypeVar("T")


class Buffer(Generic[T]):
    """A bounded queue. A writer waits for `room` first, and then puts what it read in one step.

    So a writer that is cancelled while it waits has not yet recorded its items as reported.
    """

    def __init__(self, capacity: int) -> None:
        self._capacity = capacity
        self._items: deque[T] = deque()
        self._filled = asyncio.Event()
        self._room = asyncio.Event()
        self._room.set()
        self.closed = False

    async def room(self) -> bool:
        """Wait until there is room. Return False if the buffer is closed, so that nothing more may be put."""
        while not self.closed and len(self._items) >= self._capacity:
            self._room.clear()
            await self._room.wait()
        return not self.closed

    def put(self, items: Iterable[T]) -> None:
        """Add items, without waiting. One `put` after `room` may exceed the capacity, at most by its own items."""
        self._items.extend(items)
        if self._items:
            self._filled.set()

    async def get(self) -> T | None:
        """Return the oldest item, waiting for one; None when the buffer is closed and empty."""
        while not self._items:
            if self.closed:
                return None
            self._filled.clear()
            await self._filled.wait()
        item = self._items.popleft()
        if len(self._items) < self._capacity:
            self._room.set()
        return item

    def close(self) -> None:
        """Accept no more items. `get` still returns the items that are in the buffer."""
        self.closed = True
        self._filled.set()
        self._room.set()
