"""Ports of the queue: at-least-once delivery, the queue outside the database, and hints that something arrived."""

import asyncio
from collections.abc import Collection, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Literal, Protocol

import msgspec

from kube_job_runner.domain.errors import KjrError
from kube_job_runner.domain.messages import Outgoing

Topic = Literal["messages", "jobs", "logs"]


class Delivery(msgspec.Struct, frozen=True, kw_only=True):
    """A received message: its body, the receipt that acknowledges it, and how often it was received, as far as that counts.

    `unfinished`: the delivery before this one ended without a word. Its receiver may have been killed by this message.
    """

    body: bytes
    receipt: str
    deliveries: int = 1
    unfinished: bool = False


class Sender(Protocol):
    """What the watchers and the sweeper need of the queue."""

    async def send(self, messages: Sequence[Outgoing]) -> None:
        """Send messages; on return they are durable.

        Raises:
            TemporaryError: some may not be sent. Sending all of them again is harmless.
            PermanentError: one can never be sent, for example because of its size. All others are sent.
        """
        ...


class MessageQueue(Sender, Protocol):
    """At-least-once delivery with a visibility timeout, as in SQS. Batches have any size; an adapter splits them."""

    transactional: bool
    """Whether `ProcessStore.commit` acknowledges receipts in its own transaction."""

    @property
    def receive_seconds(self) -> float:
        """How long a `receive` should wait for the first message."""
        ...

    async def receive(self, *, limit: int, wait_seconds: float, visibility_seconds: float) -> list[Delivery]:
        """Return up to `limit` messages, and hide them for `visibility_seconds`. Wait up to `wait_seconds` for the first."""
        ...

    async def ack(self, receipts: Collection[str]) -> None:
        """Remove received messages. A receipt that is no longer valid is ignored."""
        ...

    async def extend(self, receipts: Collection[str], *, visibility_seconds: float) -> None:
        """Hide received messages for `visibility_seconds` from now (0 gives them back); ignore receipts that are not valid."""
        ...

    async def give_back(self, deliveries: Sequence[Delivery], *, delay_seconds: float, counted: bool) -> None:
        """Let received messages come back after a delay. A message whose receipt is no longer valid is ignored.

        A delivery that is not `counted` leaves its message as if it had not been received. Any other is a finished one.
        """
        ...

    async def dead_letter(self, deliveries: Sequence[Delivery], *, error: str) -> None:
        """Move messages to the dead letters, with their error. A message whose receipt is no longer valid is ignored."""
        ...


class QueueCounts(msgspec.Struct, frozen=True, kw_only=True):
    """About how many messages there are: to be received, held by a receiver, delayed, and dead-lettered."""

    waiting: int = 0
    in_flight: int = 0
    delayed: int = 0
    dead: int = 0


class MessageSink(Protocol):
    """What the outbox-relay needs of a queue outside the database."""

    async def send_bodies(self, bodies: Sequence[bytes]) -> list[KjrError | None]:
        """Send encoded messages; return for each None once it is durable, or its `TemporaryError` or `PermanentError`."""
        ...

    async def counts(self) -> QueueCounts:
        """Return about how many messages there are.

        Raises:
            TemporaryError: the queue does not answer.
        """
        ...

    async def problem(self) -> str | None:
        """Return what is wrong with the queue, for readiness; None when nothing is."""
        ...


class OpenQueue(MessageQueue, MessageSink, Protocol):
    """A queue outside the database, opened: the relay sends to it, the messages-processor receives from it."""


class ExternalQueue(Protocol):
    """A queue outside the database, as the settings name it. Components open it; an operator makes and checks it."""

    def open(self, *, stop: asyncio.Event, wait_seconds: float) -> AbstractAsyncContextManager[OpenQueue]:
        """Open the queue; wait up to `wait_seconds` for it to be there, or until `stop` is set.

        Raises:
            ConfigurationError: it is not there in that time, or cannot be used with these settings.
        """
        ...

    async def init(self, *, lease_seconds: float, max_deliveries: int) -> list[str]:
        """Make the queue and its dead-letter queue, as far as they are missing; return what was done, a line each.

        Raises:
            ConfigurationError: it cannot be made: no right, no such service.
        """
        ...

    async def check(self, *, max_deliveries: int) -> tuple[list[str], QueueCounts]:
        """Return all problems of the queue, each with its remedy, and how many messages there are.

        Raises:
            ConfigurationError: it does not answer.
        """
        ...


class Wakeup(Protocol):
    """Hints that something was committed. A hint may be lost or come twice, so every waiter also polls."""

    async def wait(self, topic: Topic, *, timeout_seconds: float) -> bool:
        """Wait for the next hint on a topic (messages to receive, jobs changed, logs stored); return False on a timeout."""
        ...
