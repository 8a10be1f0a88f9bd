"""The queue on SQS: requests of ten messages, several requests at once, and long polls that run to their end.

SQS counts whole seconds, so times are rounded up. A message may come early (delays end at 900 s) and in any order. Both are
harmless, because a message only says "look at this job again".

SQS counts every receive, and no client can take one back. So a message that is given back is sent again, as a copy that carries
its count, and then deleted. A message that SQS itself delivers twice comes from a receiver that said nothing about it.
"""

import asyncio
import contextlib
import math
from collections.abc import Collection, Coroutine, Iterable, Sequence
from typing import Any, TypeVar

import msgspec

from kube_job_runner.adapters.sqs import batches
from kube_job_runner.adapters.sqs.client import CALL_SECONDS, LONG_POLL_MAX_SECONDS, Client, UnfitRequest
from kube_job_runner.domain.backoff import Backoff
from kube_job_runner.domain.errors import KjrError, PermanentError, TemporaryError
from kube_job_runner.domain.messages import Outgoing, encode
from kube_job_runner.ports import Delivery, QueueCounts

CONCURRENCY = 8
DELAY_MAX_SECONDS = 900
VISIBILITY_MAX_SECONDS = 43_200
ERROR_MAX_CHARACTERS = 2_000
_MOVE_SECONDS = 30
_NO_COPIES_SECONDS = 60.0
"""How long messages are only hidden after one could not be deleted: each copy would be one message more."""
_COUNT = "kjr_counted"  # not the attribute of a dead letter: one that a person sends back starts with none
_UNFINISHED = "kjr_unfinished"
_TRIES = 3
_RETRY_SECONDS = 0.2
_RETRY_MAX_SECONDS = 1.0
_SLOW_RECEIVE_SECONDS = 1.0

T = TypeVar("T")


class _Entry(msgspec.Struct, frozen=True):
    """A message to send, and the index of its outcome."""

    index: int
    parameters: dict[str, Any]
    size_bytes: int


class SqsQueue:
    """`MessageQueue` and `MessageSink` on one standard queue."""

    transactional = False

    def __init__(
        self, client: Client, url: str, *, dead_letter_url: str | None, receive_seconds: float = LONG_POLL_MAX_SECONDS
    ) -> None:
        self.receive_seconds = receive_seconds
        self._client = client
        self._url = url
        self._dead_letter_url = dead_letter_url
        self._slots = asyncio.Semaphore(CONCURRENCY)
        self._no_copies_until = 0.0

    # --- Sending -------------------------------------------------------------------------------------------------------

    async def send(self, messages: Sequence[Outgoing]) -> None:
        bodies = [encode(outgoing.message) for outgoing in messages]
        delays = [min(math.ceil(outgoing.delay_seconds), DELAY_MAX_SECONDS) for outgoing in messages]
        failed = [outcome for outcome in await self._send(self._url, bodies, delays=delays) if outcome is not None]
        if failed:
            raise next((error for error in failed if isinstance(error, TemporaryError)), failed[0])

    async def send_bodies(self, bodies: Sequence[bytes]) -> list[KjrError | None]:
        return await self._send(self._url, bodies)

    async def _send(
        self,
        url: str,
        bodies: Sequence[bytes],
        *,
        delays: Sequence[int] = (),
        attributes: Sequence[dict[str, Any]] = (),
        max_bytes: int = batches.BODY_MAX_BYTES,
    ) -> list[KjrError | None]:
        outcomes: list[KjrError | None] = [None] * len(bodies)
        entries: list[_Entry] = []
        for index, body in enumerate(bodies):
            try:
                text = batches.as_text(body, max_bytes=max_bytes)
            except PermanentError as error:
                outcomes[index] = error
                continue
            parameters: dict[str, Any] = {"MessageBody": text}
            if delays and delays[index] > 0:
                parameters["DelaySeconds"] = delays[index]
            if attributes and attributes[index]:
                parameters["MessageAttributes"] = attributes[index]
            entries.append(_Entry(index, parameters, len(text.encode())))
        requests = batches.by_size(entries, [entry.size_bytes for entry in entries])
        for failed in await self._at_once(self._send_batch(url, request) for request in requests):
            for index, failure in failed.items():
                outcomes[index] = failure
        return outcomes

    async def _send_batch(self, url: str, batch: Sequence[_Entry]) -> dict[int, KjrError]:
        """Send one request; return the errors of the messages that SQS did not take, by index."""
        entries = [{"Id": str(entry.index), **entry.parameters} for entry in batch]
        try:
            answer = await self._client.call("send_message_batch", QueueUrl=url, Entries=entries)
        except UnfitRequest as error:
            if len(batch) == 1:
                return {batch[0].index: error}
            alone = [await self._send_batch(url, [entry]) for entry in batch]
            return {index: error for failed in alone for index, error in failed.items()}
        except TemporaryError as error:
            return {entry.index: error for entry in batch}
        return {int(failed["Id"]): self._failure(failed, "send") for failed in answer.get("Failed") or ()}

    def _failure(self, failed: dict[str, Any], doing: str) -> KjrError:
        said = f"{self._client.where}: {doing}: {failed.get('Code', '')}: {failed.get('Message', '')}"[:400]
        return PermanentError(said) if failed.get("SenderFault") else TemporaryError(said)

    # --- Receiving -----------------------------------------------------------------------------------------------------

    async def receive(self, *, limit: int, wait_seconds: float, visibility_seconds: float) -> list[Delivery]:
        """Receive; see `ports.MessageQueue.receive`.

        A cancelled caller waits for the end of its request, and gives back what came: SQS hides the messages of an answer
        that nobody reads.
        """
        receiving = asyncio.ensure_future(self._receive(limit, wait_seconds, visibility_seconds))
        try:
            return await asyncio.shield(receiving)
        except asyncio.CancelledError:
            with contextlib.suppress(TemporaryError):
                found = await asyncio.shield(receiving)
                await asyncio.shield(self.extend([each.receipt for each in found], visibility_seconds=0.0))
            raise

    async def _receive(self, limit: int, wait_seconds: float, visibility_seconds: float) -> list[Delivery]:
        found = await self._poll(min(limit, batches.ENTRIES_MAX), wait_seconds, visibility_seconds)
        began = asyncio.get_running_loop().time()
        full = len(found) == batches.ENTRIES_MAX
        while full and len(found) < limit:
            wanted = min(limit - len(found), CONCURRENCY * batches.ENTRIES_MAX)
            sizes = [min(batches.ENTRIES_MAX, wanted - start) for start in range(0, wanted, batches.ENTRIES_MAX)]
            polls = (self._poll(size, 0.0, visibility_seconds) for size in sizes)
            answers = await asyncio.gather(*polls, return_exceptions=True)
            more = [delivery for answer in answers for delivery in _deliveries_of(answer)]
            found += more
            full = len(more) == wanted
        if asyncio.get_running_loop().time() - began > _SLOW_RECEIVE_SECONDS:
            # The caller counts its lease from now on.
            await self.extend([each.receipt for each in found], visibility_seconds=visibility_seconds)
        return found

    async def _poll(self, size: int, wait_seconds: float, visibility_seconds: float) -> list[Delivery]:
        wait = min(math.ceil(max(0.0, wait_seconds)), LONG_POLL_MAX_SECONDS)
        answer = await self._client.call(
            "receive_message",
            timeout_seconds=wait + CALL_SECONDS,
            QueueUrl=self._url,
            MaxNumberOfMessages=size,
            WaitTimeSeconds=wait,
            VisibilityTimeout=_visibility(visibility_seconds),
            MessageSystemAttributeNames=["ApproximateReceiveCount"],
            MessageAttributeNames=[_COUNT, _UNFINISHED],
        )
        return [_delivery(message) for message in answer.get("Messages") or ()]

    # --- Held messages -------------------------------------------------------------------------------------------------

    async def ack(self, receipts: Collection[str]) -> None:
        await self._for_each("delete_message_batch", receipts)

    async def extend(self, receipts: Collection[str], *, visibility_seconds: float) -> None:
        await self._for_each(
            "change_message_visibility_batch", receipts, VisibilityTimeout=_visibility(visibility_seconds)
        )

    async def give_back(self, deliveries: Sequence[Delivery], *, delay_seconds: float, counted: bool) -> None:
        """Send copies of messages, and delete them. Where that is not possible, hide them: then the delivery counts.

        A process that is killed in between leaves a message and its copy. That is harmless, as any message may come twice.
        """
        if asyncio.get_running_loop().time() < self._no_copies_until:
            await self.extend([each.receipt for each in deliveries], visibility_seconds=delay_seconds)
            return
        held = await self._still_held(deliveries)
        outcomes = await self._send(
            self._url,
            [each.body for each in held],
            delays=[min(math.ceil(max(0.0, delay_seconds)), DELAY_MAX_SECONDS)] * len(held),
            attributes=[_counts(each, counted=counted) for each in held],
            max_bytes=batches.SQS_MAX_BYTES,
        )
        copied = [each.receipt for each, failed in zip(held, outcomes, strict=True) if failed is None]
        try:
            await self.ack(copied)
        except TemporaryError:
            self._no_copies_until = asyncio.get_running_loop().time() + _NO_COPIES_SECONDS
            raise
        await self.extend(
            [each.receipt for each, failed in zip(held, outcomes, strict=True) if failed is not None],
            visibility_seconds=delay_seconds,
        )

    async def _still_held(self, deliveries: Sequence[Delivery]) -> list[Delivery]:
        """Hide messages for long enough to move them; return those that are still ours."""
        receipts = [delivery.receipt for delivery in deliveries]
        lost = await self._for_each("change_message_visibility_batch", receipts, VisibilityTimeout=_MOVE_SECONDS)
        return [delivery for delivery in deliveries if delivery.receipt not in lost]

    async def dead_letter(self, deliveries: Sequence[Delivery], *, error: str) -> None:
        """Move messages to the dead-letter queue, each with its error as the attribute `kjr_error`."""
        if self._dead_letter_url is None:
            raise TemporaryError(f"{self._client.where}: has no dead-letter queue; run `kjr queue init`")
        held = await self._still_held(deliveries)
        text = batches.plain(error, max_characters=ERROR_MAX_CHARACTERS)
        outcomes = await self._send(
            self._dead_letter_url,
            [delivery.body for delivery in held],
            attributes=[_attributes(kjr_error=text, kjr_deliveries=str(each.deliveries)) for each in held],
            max_bytes=batches.SQS_MAX_BYTES,  # another program may have sent it
        )
        await self.ack([each.receipt for each, failed in zip(held, outcomes, strict=True) if failed is None])
        for failed in outcomes:
            if failed is not None:
                raise TemporaryError(f"not moved to the dead-letter queue: {failed}") from failed

    async def _for_each(self, operation: str, receipts: Collection[str], **parameters: Any) -> set[str]:
        """Call a batch operation for each receipt; return the receipts that are no longer valid.

        Raises:
            TemporaryError: SQS did not do it for some of them, after `_TRIES` tries.
        """
        left = [receipt for receipt in dict.fromkeys(receipts) if receipt]
        stale: set[str] = {receipt for receipt in receipts if not receipt}
        said = ""
        retries = Backoff(first_seconds=_RETRY_SECONDS, max_seconds=_RETRY_MAX_SECONDS)
        for attempt in range(_TRIES):
            if attempt:
                await asyncio.sleep(retries.next())
            found = await self._at_once(self._once(operation, ten, parameters) for ten in batches.tens(left))
            left = []
            for invalid, undone, why in found:
                stale |= invalid
                left += undone
                said = why or said
            if not left:
                return stale
        raise TemporaryError(f"{self._client.where}: {operation.replace('_', ' ')}: {len(left)} not done: {said}")

    async def _once(
        self, operation: str, receipts: Sequence[str], parameters: dict[str, Any]
    ) -> tuple[set[str], list[str], str]:
        """Call it for up to ten receipts; return the invalid ones, those to retry, and why."""
        entries = [
            {"Id": str(number), "ReceiptHandle": receipt, **parameters} for number, receipt in enumerate(receipts)
        ]
        try:
            answer = await self._client.call(operation, QueueUrl=self._url, Entries=entries)
        except UnfitRequest:
            return set(receipts), [], ""
        invalid: set[str] = set()
        undone: list[str] = []
        said = ""
        for failed in answer.get("Failed") or ():
            receipt = receipts[int(failed["Id"])]
            if failed.get("SenderFault"):
                invalid.add(receipt)
            else:
                undone.append(receipt)
                said = f"{failed.get('Code', '')}: {failed.get('Message', '')}"
        return invalid, undone, said

    async def _at_once(self, calls: Iterable[Coroutine[Any, Any, T]]) -> list[T]:
        """Run requests, as many at once as there are slots; raise the first error after all have ended."""

        async def one(call: Coroutine[Any, Any, T]) -> T:
            async with self._slots:
                return await call

        answers = await asyncio.gather(*(one(call) for call in calls), return_exceptions=True)
        found: list[T] = []
        for answer in answers:
            if isinstance(answer, BaseException):
                raise answer
            found.append(answer)
        return found

    # --- Health and depth -------------------------------------------------------------------------------------------------

    async def problem(self) -> str | None:
        try:
            await self._client.call("get_queue_attributes", QueueUrl=self._url, AttributeNames=["QueueArn"])
        except KjrError as error:
            return str(error)
        return None

    async def counts(self) -> QueueCounts:
        waiting, hidden, delayed = await self._count(self._url)
        dead = sum(await self._count(self._dead_letter_url)) if self._dead_letter_url else 0
        return QueueCounts(waiting=waiting, in_flight=hidden, delayed=delayed, dead=dead)

    async def _count(self, url: str) -> tuple[int, int, int]:
        names = [f"ApproximateNumberOfMessages{kind}" for kind in ("", "NotVisible", "Delayed")]
        answer = await self._client.call("get_queue_attributes", QueueUrl=url, AttributeNames=names)
        waiting, hidden, delayed = (int(answer["Attributes"].get(name, 0)) for name in names)
        return waiting, hidden, delayed


def _visibility(seconds: float) -> int:
    return min(math.ceil(max(0.0, seconds)), VISIBILITY_MAX_SECONDS)


def _delivery(message: dict[str, Any]) -> Delivery:
    """Return a received message. Its count is that of the message which it is a copy of, and its own receives."""
    receives = int(message.get("Attributes", {}).get("ApproximateReceiveCount", 1))
    carried = message.get("MessageAttributes") or {}
    before = carried.get(_COUNT, {}).get("StringValue", "")
    return Delivery(
        body=message["Body"].encode(),
        receipt=message["ReceiptHandle"],
        deliveries=receives + (int(before) if before.isdecimal() else 0),
        unfinished=receives > 1 or _UNFINISHED in carried,
    )


def _counts(delivery: Delivery, *, counted: bool) -> dict[str, Any]:
    """Return the attributes of the copy of a message, as `_delivery` reads them. Without a count it carries none."""
    count = delivery.deliveries if counted else delivery.deliveries - 1
    unfinished = {_UNFINISHED: "1"} if delivery.unfinished and not counted else {}
    return _attributes(**{_COUNT: str(count)}, **unfinished) if count or unfinished else {}


def _attributes(**values: str) -> dict[str, Any]:
    return {name: {"DataType": "String", "StringValue": value} for name, value in values.items()}


def _deliveries_of(answer: list[Delivery] | BaseException) -> list[Delivery]:
    if isinstance(answer, TemporaryError):
        return []
    if isinstance(answer, BaseException):
        raise answer
    return answer
