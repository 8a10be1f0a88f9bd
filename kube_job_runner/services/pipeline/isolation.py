"""Isolation: which messages of a batch are worked on together after a receiver of theirs was killed, and when one is given up.

One message may kill its processor each time (no memory left, a crash in a library), or never end. The others of its batch
come back with it, and look the same. So with each such delivery they are worked on in smaller groups, and in the end alone. What
kills its processor even then is dead-lettered, and nothing else is.
"""

import asyncio
import contextlib
import math
from collections.abc import AsyncIterator, Callable, Sequence

import msgspec

from kube_job_runner.ports import Delivery

LEAST_DELIVERIES = 3
"""With fewer, a message would be given up before it was alone."""


class Picked(msgspec.Struct, frozen=True, kw_only=True):
    """What of a receive is worked on now, and what is given back. `alone`: one message, with no other work in the process."""

    now: list[Delivery]
    later: list[Delivery] = []
    alone: bool = False


class Isolation:
    """Chooses groups by how often messages were delivered. Each one halves them: log2(batch size) rounds find one message."""

    def __init__(self, *, batch_size: int, max_deliveries: int) -> None:
        self._batch_size = batch_size
        self._max_deliveries = max(max_deliveries, LEAST_DELIVERIES)
        # The last two deliveries are alone: another cause can end a process once.
        rounds = max(self._max_deliveries - 2, 2)
        self._halvings = math.ceil(math.log2(batch_size) / rounds)

    def worn_out(self, delivery: Delivery) -> bool:
        """Return whether a message was delivered too often and never acknowledged. In the last of them it was alone."""
        return delivery.deliveries > self._max_deliveries

    def group_size(self, deliveries: int) -> int:
        """Return how many unfinished messages may share their group at this delivery, the message included."""
        return max(1, -(-self._batch_size >> (deliveries - 1) * self._halvings))

    def pick(self, received: Sequence[Delivery]) -> Picked:
        """Return the next group: all messages, unless some are unfinished. Of those, the ones that are least suspect."""
        suspects = [each for each in received if each.unfinished and not self.worn_out(each)]
        if not suspects:
            return Picked(now=list(received))
        size = max(self.group_size(each.deliveries) for each in suspects)
        alike = [each for each in suspects if self.group_size(each.deliveries) == size]
        chosen = {each.receipt for each in alike[:size]}
        return Picked(
            now=[each for each in received if each.receipt in chosen or self.worn_out(each)],
            later=[each for each in received if each.receipt not in chosen and not self.worn_out(each)],
            alone=size == 1,
        )


class Floor:
    """Where the batches of a process are worked on: several at once, or one alone."""

    def __init__(self) -> None:
        self._working = 0
        self._alone = False
        self._waiting: list[asyncio.Future[None]] = []

    @contextlib.asynccontextmanager
    async def entered(self, *, alone: bool) -> AsyncIterator[None]:
        """Work on a batch in the body of an `async with`. Wait for the one that is alone; if this one is, for all others."""
        await self._until(lambda: not self._alone)
        self._alone = alone
        try:
            if alone:
                await self._until(lambda: self._working == 0)
            self._working += 1
            try:
                yield
            finally:
                self._working -= 1
        finally:
            if alone:
                self._alone = False
            self._wake()

    async def _until(self, free: Callable[[], bool]) -> None:
        while not free():
            waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._waiting.append(waiter)
            await waiter

    def _wake(self) -> None:
        for waiter in self._waiting:
            if not waiter.done():
                waiter.set_result(None)
        self._waiting.clear()
