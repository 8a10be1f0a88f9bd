"""Decoding of bodies: a light one at once, a heavy one in a thread beside the event loop, one that is too heavy never.

The bytes of all bodies together are limited too. A small body is always accepted, so nobody can lock out plain submits.
"""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from kube_job_runner.web.kit.problems import TOO_MANY_BODIES, RequestProblem
from kube_job_runner.web.validation import weight

T = TypeVar("T")

LIGHT_BYTES = 4096
"""Any body of this size is decoded at once, on whichever path."""
IN_LOOP_BYTES = 512 * 1024
IN_LOOP_VALUES = 20_000
"""A body of this size is decoded at once if it has no fault: that takes some milliseconds. To find faults takes longer."""
SMALL_BYTES = 64 * 1024
"""Bodies of this size are not counted."""


class Decoding:
    """Decodes bodies. There is one thread, so that heavy bodies take turns, in time and in memory."""

    def __init__(self) -> None:
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="bodies")

    async def run(self, body: bytes, *, fast: Callable[[bytes], T | None], full: Callable[[bytes], T]) -> T:
        """Return what `fast` makes of the body, or `full` where that gives None.

        Raises:
            TooComplex: the body holds too many values.
        """
        if len(body) <= LIGHT_BYTES:
            return full(body)
        if len(body) <= IN_LOOP_BYTES and weight.at_most(body) <= IN_LOOP_VALUES:
            found = fast(body)
            if found is not None:
                return found
        return await asyncio.get_running_loop().run_in_executor(self._thread, _checked, body, full)


def _checked(body: bytes, full: Callable[[bytes], T]) -> T:
    weight.check(body)
    return full(body)


class Budget:
    """The bytes of all bodies that are being read or worked on. One owner of a token may use half of it."""

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._used_bytes = 0
        self._of: dict[str, int] = {}

    @property
    def used_bytes(self) -> int:
        return self._used_bytes

    def lease(self, owner: str) -> "Lease":
        return Lease(self, owner)

    def take(self, owner: str, size_bytes: int) -> None:
        """Count bytes.

        Raises:
            RequestProblem: 503, there are too many.
        """
        own = self._of.get(owner, 0) + size_bytes
        if self._used_bytes + size_bytes > self._max_bytes or own > self._max_bytes // 2:
            raise RequestProblem(TOO_MANY_BODIES, headers=((b"retry-after", b"1"), (b"connection", b"close")))
        self._used_bytes += size_bytes
        self._of[owner] = own

    def give_back(self, owner: str, size_bytes: int) -> None:
        self._used_bytes -= size_bytes
        self._of[owner] -= size_bytes
        if not self._of[owner]:
            del self._of[owner]


class Lease:
    """The bytes of one body. The first ones are free."""

    def __init__(self, budget: Budget, owner: str) -> None:
        self._budget = budget
        self._owner = owner
        self._seen_bytes = 0
        self._taken_bytes = 0

    def add(self, size_bytes: int) -> None:
        """Count bytes that have come; see `Budget.take`."""
        self._seen_bytes += size_bytes
        new = self._seen_bytes - SMALL_BYTES - self._taken_bytes
        if new > 0:
            self._budget.take(self._owner, new)
            self._taken_bytes += new

    def end(self) -> None:
        """Give all bytes back."""
        if self._taken_bytes:
            self._budget.give_back(self._owner, self._taken_bytes)
            self._taken_bytes = 0
