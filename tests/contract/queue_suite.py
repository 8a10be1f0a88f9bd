"""The behaviour every `ports.MessageQueue` has: written once, run unchanged on each adapter by `test_queue_contract.py`.

Nothing here relies on order, and no time is shorter than the adapter's `tick_seconds`: SQS counts whole seconds. Waiting
is done by `receive` itself, which returns as soon as there is something.
"""

from __future__ import annotations

import abc
import asyncio
import uuid
from collections.abc import AsyncIterator, Collection
from typing import Any

import pytest
import pytest_asyncio

from kube_job_runner.domain import messages
from kube_job_runner.domain.facts import PodFacts
from kube_job_runner.domain.messages import Check, Observed, Outgoing
from kube_job_runner.ports import Delivery, MessageQueue

LONG_SECONDS = 60.0


class QueueHarness(abc.ABC):
    """What the suite needs of an adapter's test set-up."""

    tick_seconds: float
    """The shortest time that the adapter can hide or delay a message."""

    @abc.abstractmethod
    async def open(self) -> MessageQueue:
        """Return another client of the same queue, as another process would have it."""

    @abc.abstractmethod
    async def dead_letters(self) -> list[tuple[bytes, str]]:
        """Return the messages taken out of circulation, each with its error."""

    @abc.abstractmethod
    async def close(self) -> None:
        """Close all clients and remove the queue."""


def checks(count: int, **fields: Any) -> list[Outgoing]:
    """Return messages that differ from each other."""
    return [Outgoing(message=Check(job_id=uuid.uuid4()), **fields) for _ in range(count)]


def bodies(found: Collection[Outgoing | Delivery]) -> list[bytes]:
    """Return the bodies of messages sent or received, sorted."""
    return sorted(item.body if isinstance(item, Delivery) else messages.encode(item.message) for item in found)


async def take(queue: MessageQueue, count: int, *, hidden_seconds: float = LONG_SECONDS) -> list[Delivery]:
    """Receive until `count` messages are there: an adapter may return fewer than asked for."""
    taken: list[Delivery] = []
    async with asyncio.timeout(30):
        while len(taken) < count:
            taken += await queue.receive(limit=count - len(taken), wait_seconds=5, visibility_seconds=hidden_seconds)
    return taken


async def nothing(queue: MessageQueue, *, wait_seconds: float = 0.0) -> bool:
    """Whether there is no message to receive, for `wait_seconds`."""
    return await queue.receive(limit=10, wait_seconds=wait_seconds, visibility_seconds=LONG_SECONDS) == []


class QueueSuite(abc.ABC):
    """At-least-once delivery with a visibility timeout."""

    @abc.abstractmethod
    def make_harness(self, request: pytest.FixtureRequest) -> QueueHarness:
        """Return the adapter's set-up."""

    @pytest_asyncio.fixture
    async def harness(self, request: pytest.FixtureRequest) -> AsyncIterator[QueueHarness]:
        """The adapter's set-up for one test."""
        harness = self.make_harness(request)
        yield harness
        await harness.close()

    @pytest_asyncio.fixture
    async def queue(self, harness: QueueHarness) -> MessageQueue:
        """A client of the queue."""
        return await harness.open()

    @pytest.mark.asyncio
    async def test_a_message_arrives_as_it_was_sent(self, queue: MessageQueue) -> None:
        sent = Observed(job_id=uuid.uuid4(), attempt=3, seen=PodFacts(uid="p", phase="Running"))
        await queue.send([Outgoing(message=sent)])
        (delivery,) = await take(queue, 1)
        assert messages.decode(delivery.body) == sent
        assert delivery.deliveries == 1

    @pytest.mark.asyncio
    async def test_batches_may_be_of_any_size(self, queue: MessageQueue) -> None:
        sent = checks(37)
        await queue.send([])
        await queue.send(sent)
        taken = await take(queue, 37)
        assert bodies(taken) == bodies(sent)
        await queue.extend([delivery.receipt for delivery in taken], visibility_seconds=LONG_SECONDS)
        await queue.ack([delivery.receipt for delivery in taken])
        await queue.ack([])
        assert await nothing(queue)

    @pytest.mark.asyncio
    async def test_no_more_are_received_than_asked_for(self, queue: MessageQueue) -> None:
        await queue.send(checks(9))
        found = await queue.receive(limit=4, wait_seconds=5, visibility_seconds=LONG_SECONDS)
        assert 1 <= len(found) <= 4

    @pytest.mark.asyncio
    async def test_an_empty_queue_answers_when_the_wait_is_over(self, queue: MessageQueue) -> None:
        assert await nothing(queue)
        assert await nothing(queue, wait_seconds=0.2)

    @pytest.mark.asyncio
    async def test_a_waiting_receiver_gets_what_is_sent_meanwhile(
        self, harness: QueueHarness, queue: MessageQueue
    ) -> None:
        sender = await harness.open()
        waiting = asyncio.create_task(take(queue, 1))
        await asyncio.sleep(0)
        sent = checks(1)
        await sender.send(sent)
        assert bodies(await waiting) == bodies(sent)

    @pytest.mark.asyncio
    async def test_a_received_message_is_hidden_from_others(self, harness: QueueHarness, queue: MessageQueue) -> None:
        await queue.send(checks(1))
        await take(queue, 1)
        assert await nothing(await harness.open(), wait_seconds=2 * harness.tick_seconds)

    @pytest.mark.asyncio
    async def test_what_a_crashed_receiver_held_comes_again(self, harness: QueueHarness, queue: MessageQueue) -> None:
        sent = checks(3)
        await queue.send(sent)
        first = await take(queue, 3, hidden_seconds=harness.tick_seconds)
        # No ack, no word: this is all that a killed process leaves behind.
        again = await take(await harness.open(), 3)
        assert bodies(again) == bodies(sent)
        assert {delivery.deliveries for delivery in first} == {1}
        assert {delivery.deliveries for delivery in again} == {2}
        assert {delivery.unfinished for delivery in first} == {False}
        assert {delivery.unfinished for delivery in again} == {True}

    @pytest.mark.asyncio
    async def test_an_acknowledged_message_never_comes_again(self, harness: QueueHarness, queue: MessageQueue) -> None:
        await queue.send(checks(2))
        for delivery in await take(queue, 2, hidden_seconds=harness.tick_seconds):
            await queue.ack([delivery.receipt])
        assert await nothing(queue, wait_seconds=2 * harness.tick_seconds)

    @pytest.mark.asyncio
    async def test_a_late_receiver_cannot_touch_what_another_holds_now(
        self, harness: QueueHarness, queue: MessageQueue
    ) -> None:
        await queue.send(checks(1))
        (late,) = await take(queue, 1, hidden_seconds=harness.tick_seconds)
        (now,) = await take(queue, 1, hidden_seconds=3 * harness.tick_seconds)
        assert late.receipt != now.receipt
        await queue.ack([late.receipt])
        await queue.extend([late.receipt], visibility_seconds=0)
        await queue.dead_letter([late], error="too late")
        assert await nothing(queue)
        assert await harness.dead_letters() == []
        (third,) = await take(queue, 1)
        assert third.deliveries == 3
        assert third.body == now.body

    @pytest.mark.asyncio
    async def test_nonsense_receipts_are_ignored(self, queue: MessageQueue) -> None:
        await queue.send(checks(1))
        (held,) = await take(queue, 1)
        nonsense = ["", "x", "1:2", f"{2**80}:{uuid.uuid4()}", held.receipt + "0"]
        await queue.ack(nonsense)
        await queue.extend(nonsense, visibility_seconds=0)
        assert await nothing(queue)
        await queue.extend([*nonsense, held.receipt], visibility_seconds=0)
        assert len(await take(queue, 1)) == 1

    @pytest.mark.asyncio
    async def test_a_delayed_message_comes_when_its_time_has_come(
        self, harness: QueueHarness, queue: MessageQueue
    ) -> None:
        delayed, prompt = checks(1, delay_seconds=2 * harness.tick_seconds), checks(1)
        await queue.send([*delayed, *prompt])
        assert bodies(await take(queue, 1)) == bodies(prompt)
        assert await nothing(queue)
        assert bodies(await take(queue, 1)) == bodies(delayed)

    @pytest.mark.asyncio
    async def test_a_lease_can_be_made_longer(self, harness: QueueHarness, queue: MessageQueue) -> None:
        await queue.send(checks(2))
        held = await take(queue, 2, hidden_seconds=2 * harness.tick_seconds)
        await queue.extend([held[0].receipt], visibility_seconds=LONG_SECONDS)
        (again,) = await take(queue, 1)
        assert again.body == held[1].body
        assert await nothing(queue, wait_seconds=2 * harness.tick_seconds)
        await queue.ack([held[0].receipt])

    @pytest.mark.asyncio
    async def test_a_lease_can_be_given_back(self, harness: QueueHarness, queue: MessageQueue) -> None:
        other = await harness.open()
        await queue.send(checks(3))
        held = await take(queue, 3)
        waiting = asyncio.create_task(take(other, 3))
        await queue.extend([delivery.receipt for delivery in held], visibility_seconds=0)
        assert bodies(await waiting) == bodies(held)

    @pytest.mark.asyncio
    async def test_a_delivery_that_does_not_count_leaves_no_trace(
        self, harness: QueueHarness, queue: MessageQueue
    ) -> None:
        sent = checks(3)
        await queue.send(sent)
        for _ in range(3):
            held = await take(queue, 3)
            assert {(each.deliveries, each.unfinished) for each in held} == {(1, False)}
            await queue.give_back(held, delay_seconds=0, counted=False)
        crashed = await take(queue, 3, hidden_seconds=harness.tick_seconds)
        for _ in range(3):
            held = await take(queue, 3)
            assert {(each.deliveries, each.unfinished) for each in held} == {(2, True)}
            await queue.give_back(held, delay_seconds=0, counted=False)
        await queue.give_back(crashed, delay_seconds=0, counted=False)  # too late: ignored
        assert bodies(await take(queue, 3)) == bodies(sent)
        assert await nothing(queue)

    @pytest.mark.asyncio
    async def test_a_delivery_that_counts_is_a_finished_one(self, harness: QueueHarness, queue: MessageQueue) -> None:
        await queue.send(checks(1))
        await take(queue, 1, hidden_seconds=harness.tick_seconds)
        for count in (2, 3):
            held = await take(queue, 1)
            assert [(each.deliveries, each.unfinished) for each in held] == [(count, count == 2)]
            await queue.give_back(held, delay_seconds=0, counted=True)

    @pytest.mark.asyncio
    async def test_what_is_given_back_comes_after_its_delay(self, harness: QueueHarness, queue: MessageQueue) -> None:
        await queue.send(checks(1))
        await queue.give_back(await take(queue, 1), delay_seconds=2 * harness.tick_seconds, counted=False)
        assert await nothing(queue)
        assert len(await take(queue, 1)) == 1

    @pytest.mark.asyncio
    async def test_what_is_acknowledged_is_not_given_back(self, harness: QueueHarness, queue: MessageQueue) -> None:
        await queue.send(checks(1))
        held = await take(queue, 1)
        await queue.ack([each.receipt for each in held])
        await queue.give_back(held, delay_seconds=0, counted=False)
        await queue.give_back([], delay_seconds=0, counted=False)
        assert await nothing(queue, wait_seconds=2 * harness.tick_seconds)

    @pytest.mark.asyncio
    async def test_a_dead_letter_is_kept_with_its_error(self, harness: QueueHarness, queue: MessageQueue) -> None:
        await queue.send(checks(2))
        dead, alive = await take(queue, 2, hidden_seconds=harness.tick_seconds)
        await queue.dead_letter([dead], error="cannot \0 be done")
        (kept,) = await harness.dead_letters()
        assert kept[0] == dead.body
        assert "be done" in kept[1]
        (again,) = await take(queue, 1)
        assert again.body == alive.body
        assert await nothing(queue, wait_seconds=2 * harness.tick_seconds)

    @pytest.mark.asyncio
    async def test_many_receivers_never_share_a_message(self, harness: QueueHarness, queue: MessageQueue) -> None:
        sent = checks(120)
        await queue.send(sent)
        taken: list[Delivery] = []

        async def drain(receiver: MessageQueue) -> None:
            while found := await receiver.receive(limit=7, wait_seconds=0.1, visibility_seconds=LONG_SECONDS):
                taken.extend(found)

        receivers = [await harness.open() for _ in range(4)]
        await asyncio.gather(*(drain(receiver) for receiver in receivers))
        assert bodies(taken) == bodies(sent)
        assert {delivery.deliveries for delivery in taken} == {1}

    @pytest.mark.asyncio
    async def test_a_cancelled_receiver_loses_nothing(self, harness: QueueHarness, queue: MessageQueue) -> None:
        sent = checks(20)
        taken: list[Delivery] = []

        async def receive() -> None:
            taken.extend(await queue.receive(limit=3, wait_seconds=1, visibility_seconds=5 * harness.tick_seconds))

        for turn in range(10):
            task = asyncio.create_task(receive())
            for _ in range(turn):
                await asyncio.sleep(0)
            if turn == 4:
                await queue.send(sent)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        await queue.ack([delivery.receipt for delivery in taken])
        rest = await take(queue, 20 - len(taken))
        assert bodies([*taken, *rest]) == bodies(sent)
