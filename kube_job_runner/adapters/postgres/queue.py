"""The queue in PostgreSQL: at-least-once, with a visibility timeout, one statement per batch whatever its size."""

from __future__ import annotations

import asyncio
import random
import time
import uuid
from collections.abc import Collection, Sequence

from kube_job_runner import ports
from kube_job_runner.adapters.postgres import statements
from kube_job_runner.adapters.postgres.pool import Pool
from kube_job_runner.domain import messages
from kube_job_runner.domain.errors import TemporaryError
from kube_job_runner.domain.messages import Outgoing

_POLL_SECONDS = 0.5  # the truth, should every wake-up hint be lost; also how late a delayed message may come

_SQL = statements.load("queue")


class PostgresQueue:
    """The `MessageQueue` port. Acknowledging belongs into the commit of what was done (`transactional`)."""

    transactional = True

    def __init__(self, pool: Pool, wakeup: ports.Wakeup) -> None:
        self._pool = pool
        self._wakeup = wakeup

    async def send(self, messages_: Sequence[Outgoing]) -> None:
        """See `ports.MessageQueue.send`."""
        if messages_:
            await self._pool.fetch(
                _SQL["send"],
                [outgoing.delay_seconds for outgoing in messages_],
                [outgoing.priority for outgoing in messages_],
                [messages.encode(outgoing.message) for outgoing in messages_],
            )

    async def receive(self, *, limit: int, wait_seconds: float, visibility_seconds: float) -> list[ports.Delivery]:
        """See `ports.MessageQueue.receive`."""
        deadline = time.monotonic() + wait_seconds
        while True:
            token = uuid.uuid4()
            try:
                found = await self._pool.fetch(_SQL["receive"], limit, visibility_seconds, token)
            except asyncio.CancelledError:
                # The lease may have been taken although nobody hears of it: give it back.
                await self._release_all(token)
                raise
            if found:
                found.sort(key=lambda row: row["id"])
                return [
                    ports.Delivery(
                        body=bytes(row["body"]), receipt=f"{row['id']}:{token.hex}", deliveries=row["deliveries"]
                    )
                    for row in found
                ]
            left = deadline - time.monotonic()
            if left <= 0:
                return []
            pause_seconds = min(left, _POLL_SECONDS * random.uniform(0.8, 1.2))  # noqa: S311 - jitter, not a secret
            await self._wakeup.wait("messages", timeout_seconds=pause_seconds)

    async def _release_all(self, token: uuid.UUID) -> None:
        try:
            await asyncio.shield(
                self._pool.execute("UPDATE messages SET available_at = now() WHERE lease_token = $1", token)
            )
        except (TemporaryError, asyncio.CancelledError):
            return  # the lease's own end gives them back

    async def ack(self, receipts: Collection[str]) -> None:
        """See `ports.MessageQueue.ack`."""
        if receipts:
            await self._pool.execute(_SQL["ack"], *split_receipts(receipts))

    async def extend(self, receipts: Collection[str], *, visibility_seconds: float) -> None:
        """See `ports.MessageQueue.extend`."""
        if receipts:
            await self._pool.fetch(_SQL["extend"], *split_receipts(receipts), visibility_seconds)

    async def dead_letter(self, deliveries: Sequence[ports.Delivery], *, error: str) -> None:
        """See `ports.MessageQueue.dead_letter`."""
        if deliveries:
            receipts = split_receipts([delivery.receipt for delivery in deliveries])
            await self._pool.execute(_SQL["dead_letter"], *receipts, error.replace("\0", "")[:10_000])


def split_receipts(receipts: Collection[str]) -> tuple[list[int], list[uuid.UUID]]:
    """Return the message ids and lease tokens of receipts; one that is not ours is left out, as a stale one would be."""
    ids: list[int] = []
    tokens: list[uuid.UUID] = []
    for receipt in receipts:
        number, _, token = receipt.partition(":")
        try:
            pair = int(number), uuid.UUID(token)
        except ValueError:
            continue
        ids.append(pair[0])
        tokens.append(pair[1])
    return ids, tokens
