"""The queue on PostgreSQL: the outbox row is the message.

`available_at` is both the earliest time to receive a message and the end of a lease, like the visibility timeout of SQS. A
message that nobody acknowledges can be received again after its lease. All times are the database's, so the clocks of workers
do not matter.
"""

import asyncio
import contextlib
import uuid
from collections.abc import Collection, Iterable, Sequence

from kube_job_runner.adapters.postgres import rows, statements, wakeup
from kube_job_runner.adapters.postgres.pool import Pool
from kube_job_runner.domain import backoff
from kube_job_runner.domain.errors import TemporaryError
from kube_job_runner.domain.messages import Outgoing
from kube_job_runner.ports import Delivery, Wakeup

SQL = statements.load("queue")
POLL_SECONDS = 0.5
RECEIVE_SECONDS = 1.0
ERROR_MAX_CHARACTERS = 10_000
UNANSWERED_MAX = 1000  # receives without an answer that are undone at once


class PostgresQueue:
    """`MessageQueue` on PostgreSQL. It sees a delayed message, or one without a hint, within `poll_seconds`."""

    transactional = True
    receive_seconds = RECEIVE_SECONDS

    def __init__(self, pool: Pool, wakeup: Wakeup, *, poll_seconds: float = POLL_SECONDS) -> None:
        self._pool = pool
        self._wakeup = wakeup
        self._poll_seconds = poll_seconds
        self._unanswered: list[uuid.UUID] = []

    async def send(self, messages: Sequence[Outgoing]) -> None:
        """Send messages, with one hint if one of them may be received now."""
        if messages:
            await self._pool.fetch(SQL["send"], hints(messages), *rows.MESSAGES.encode(messages))

    async def receive(self, *, limit: int, wait_seconds: float, visibility_seconds: float) -> list[Delivery]:
        """Return up to `limit` messages. If the caller is cancelled, the messages that it leased are given back."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + wait_seconds
        while True:
            deliveries = await self._lease(limit, visibility_seconds)
            remaining_seconds = deadline - loop.time()
            if deliveries or remaining_seconds <= 0:
                return deliveries
            pause_seconds = backoff.spread(self._poll_seconds, backoff.UPPER_HALF)
            await self._wakeup.wait("messages", timeout_seconds=min(remaining_seconds, pause_seconds))

    async def _lease(self, limit: int, visibility_seconds: float) -> list[Delivery]:
        lease = asyncio.ensure_future(self._leased(limit, visibility_seconds))
        try:
            return await asyncio.shield(lease)
        except asyncio.CancelledError:
            with contextlib.suppress(TemporaryError):
                given_back = await asyncio.shield(lease)
                await self.give_back(given_back, delay_seconds=0.0, counted=False)
            raise

    async def _leased(self, limit: int, visibility_seconds: float) -> list[Delivery]:
        if self._unanswered:
            await self._pool.execute(SQL["undo_receives"], self._unanswered)
            self._unanswered = []
        token = uuid.uuid4()
        try:
            leased = await self._pool.fetch(SQL["receive"], limit, visibility_seconds, token)
        except TemporaryError:
            # It may have been committed. Nobody has these messages, so this delivery must not count.
            self._unanswered = [*self._unanswered, token][-UNANSWERED_MAX:]
            raise
        return [
            Delivery(
                body=row["body"],
                receipt=f"{row['id']}:{token}",
                deliveries=row["deliveries"],
                unfinished=row["unfinished"],
            )
            for row in leased
        ]

    async def ack(self, receipts: Collection[str]) -> None:
        if receipts:
            await self._pool.execute(SQL["ack"], *receipt_columns(receipts))

    async def extend(self, receipts: Collection[str], *, visibility_seconds: float) -> None:
        if receipts:
            given_back = [wakeup.MESSAGES] if visibility_seconds <= 0 else []
            await self._pool.fetch(SQL["extend"], *receipt_columns(receipts), visibility_seconds, given_back)

    async def give_back(self, deliveries: Sequence[Delivery], *, delay_seconds: float, counted: bool) -> None:
        if deliveries:
            unfinished = {delivery.receipt: delivery.unfinished for delivery in deliveries}
            numbers, tokens = receipt_columns(unfinished)
            flags = [unfinished.get(f"{number}:{token}", False) for number, token in zip(numbers, tokens, strict=True)]
            hints_ = [wakeup.MESSAGES] if delay_seconds <= 0 else []
            await self._pool.fetch(SQL["give_back"], numbers, tokens, flags, delay_seconds, counted, hints_)

    async def dead_letter(self, deliveries: Sequence[Delivery], *, error: str) -> None:
        """Move messages to `dead_letters`, with at most 10,000 characters of the error."""
        receipts = [delivery.receipt for delivery in deliveries]
        text = rows.text(error.encode(errors="replace").decode())[:ERROR_MAX_CHARACTERS]
        await self._pool.execute(SQL["dead_letter"], *receipt_columns(receipts), text)


def hints(messages: Iterable[Outgoing]) -> list[str]:
    """Return the channels to notify of these messages: none if all are delayed."""
    return [wakeup.MESSAGES] if any(message.delay_seconds <= 0 for message in messages) else []


def receipt_columns(receipts: Iterable[str]) -> tuple[list[int], list[uuid.UUID]]:
    """Return the message ids and the lease tokens of receipts, sorted by id: all who lock messages use this order."""
    parsed = sorted(_parsed(receipts))
    return [number for number, _ in parsed], [token for _, token in parsed]


def _parsed(receipts: Iterable[str]) -> Iterable[tuple[int, uuid.UUID]]:
    for receipt in receipts:
        number, _, token = receipt.partition(":")
        with contextlib.suppress(ValueError):  # not our receipt: ignored like a stale one
            if 0 < int(number) < 2**63:
                yield int(number), uuid.UUID(token)
