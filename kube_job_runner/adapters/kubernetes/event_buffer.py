"""Pacing of an informer: how long to wait before the next try, and how much may lie unread between reader and consumer."""

from __future__ import annotations

import asyncio
import random
from collections import deque
from collections.abc import Iterable
from typing import Generic, TypeVar

T = TypeVar("T")


class Backoff:
    """Delays that double up to a maximum, each spread over its upper half so that clients do not come back together."""

    def __init__(self, *, first_seconds: float, most_seconds: float) -> None:
        self._first = first_seconds
        self._most = most_seconds
        self._tries = 0

    def next(self) -> float:
        """Return the seconds to wait before the next try."""
        delay = min(self._first * 2.0 ** min(self._tries, 32), self._most)
        self._tries += 1
        return delay * random.uniform(0.5, 1.0)  # noqa: S311  only spreads

    def reset(self) -> None:
        """Begin again: the last try went well."""
        self._tries = 0


class Buffer(Generic[T]):
    """A bounded queue whose writers wait for room before they take note of what they read.

    Room is waited for first, and what was read is then put in one step: so a writer that is cancelled while it waits has
    not yet recorded as told what was never told.
    """

    def __init__(self, capacity: int) -> None:
        self._capacity = capacity
        self._items: deque[T] = deque()
        self._filled = asyncio.Event()
        self._room = asyncio.Event()
        self._room.set()
        self.closed = False

    async def room(self) -> bool:
        """Wait until there is room; False when the buffer was closed, and nothing may be put any more."""
        while not self.closed and len(self._items) >= self._capacity:
            self._room.clear()
            await self._room.wait()
        return not self.closed

    def put(self, items: Iterable[T]) -> None:
        """Add items, without waiting. One put after `room` may pass the capacity, so its size bounds the excess."""
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
        """Take no more; what is there can still be had."""
        self.closed = True
        self._filled.set()
        self._room.set()
