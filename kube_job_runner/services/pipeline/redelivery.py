"""Redelivery: when a message of the pipeline comes back, and when it is dead-lettered. No other module decides that.

A `TemporaryError` brings the messages of a job back after the delay that it names, and their delivery does not count: an outage
of any length dead-letters nothing. Any other error is logged, the messages come back with growing delays, and after
`max_deliveries` they are dead-lettered. What is done with messages that nobody answered for is in `isolation`.
"""

import contextlib
from collections.abc import Sequence
from uuid import UUID

import msgspec

from kube_job_runner import ports
from kube_job_runner.domain import backoff, messages
from kube_job_runner.domain.errors import ConfigurationError, TemporaryError
from kube_job_runner.domain.facts import JobFacts, PodFacts
from kube_job_runner.domain.messages import Check, Delete, Observed, Outgoing
from kube_job_runner.services.pipeline.batch import Entry, Received
from kube_job_runner.telemetry import loggers, metrics

log = loggers.get_logger(__name__)

_EARLY_FIRST_SECONDS = 0.25
_EARLY_MAX_SECONDS = 15.0
_EARLY_MORE_SECONDS = 30.0  # for the commit that follows a create
RETRY_SOON_SECONDS = 0.05
_RETRY_FAILED_SECONDS = 2.0


class Redelivery:
    """Gives messages back to the queue, acknowledges them, or dead-letters them."""

    def __init__(self, queue: ports.MessageQueue, *, max_deliveries: int, create_seconds: float) -> None:
        """`create_seconds` is how long a create may be on its way: an observation of it may come so much too early."""
        self._queue = queue
        self._early_seconds = create_seconds + _EARLY_MORE_SECONDS
        self._max_deliveries = max_deliveries
        self._owed: list[ports.Delivery] = []

    async def dead_letter(self, delivery: ports.Delivery, type_: str, error: str) -> None:
        """Take a message out of circulation."""
        log.error("a message was dead-lettered", action="message.dead_letter", type=type_, error=error)
        try:
            await self._queue.dead_letter([delivery], error=error)
        except TemporaryError as failed:
            # It comes back when its lease ends; the rest of its batch goes on.
            log.warning("a message could not be dead-lettered", action="message.dead_letter", error=str(failed))
            return
        metrics.messages_handled.labels(type_, "dead_lettered").inc()

    async def acknowledge(self, receipts: Sequence[str]) -> None:
        """Acknowledge messages whose outcome is committed. If that fails they come again, and report nothing new."""
        try:
            await self._queue.ack(receipts)
        except TemporaryError as error:
            log.warning(
                "messages were not acknowledged", action="message.acknowledge", error=str(error), messages=len(receipts)
            )

    async def came_early(self, received: Received, entry: Entry) -> None:
        """Let an observation of an attempt without a row come back, until no create can be on its way; then it is done with.

        It comes back as a new message, so its deliveries do not count: they are nobody's failures.
        """
        delivery, message = entry
        assert isinstance(message, Observed)  # no other message is about an attempt without a row
        if message.early_seconds >= self._early_seconds:
            metrics.unknown_objects.inc()
            return
        delay_seconds = min(max(message.early_seconds, _EARLY_FIRST_SECONDS), _EARLY_MAX_SECONDS)
        again = msgspec.structs.replace(message, early_seconds=message.early_seconds + delay_seconds)
        await self._queue.send([Outgoing(message=again, delay_seconds=delay_seconds)])
        received.entries.remove(entry)
        metrics.messages_handled.labels("observed", "early").inc()
        await self.acknowledge([delivery.receipt])

    async def give_back(self, items: Sequence[Received], *, delay_seconds: float) -> None:
        """Let the messages of these jobs come back, and send a `Check` for each job that was admitted without one."""
        await self.give_up(
            [delivery for received in items for delivery, _ in received.entries], delay_seconds=delay_seconds
        )
        admitted = [received for received in items if received.admitted]
        with contextlib.suppress(TemporaryError):
            await leave_to_others(self._queue, [one.job_id for one in admitted], delay_seconds=delay_seconds)
            for received in admitted:
                received.settled = True

    async def give_up(self, deliveries: Sequence[ports.Delivery], *, delay_seconds: float) -> None:
        """Let messages come back after a temporary error, or because this process stops. The delivery does not count."""
        await self._return(deliveries, delay_seconds=delay_seconds, counted=False)

    async def _return(self, deliveries: Sequence[ports.Delivery], *, delay_seconds: float, counted: bool) -> None:
        if not deliveries:
            return
        try:
            await self._queue.give_back(deliveries, delay_seconds=delay_seconds, counted=counted)
        except TemporaryError as error:
            log.warning(
                "messages were not given back",
                action="message.give_back",
                error=str(error),
                messages=len(deliveries),
                counted=counted,
            )
            if not counted:
                self._owed += deliveries

    async def settle(self) -> None:
        """Give back what could not be given back while the queue was unreachable, so that those deliveries do not count.

        Raises:
            TemporaryError: the queue is still unreachable.
        """
        owed, self._owed = self._owed, []
        if not owed:
            return
        try:
            await self._queue.give_back(owed, delay_seconds=0.0, counted=False)
        except TemporaryError:
            self._owed += owed
            raise

    async def failed(self, received: Received, error: Exception) -> None:
        """Send the messages of a job back after an error, or to the dead letters. A wrong configuration ends the process."""
        if isinstance(error, ConfigurationError):
            raise error
        if isinstance(error, TemporaryError):
            log.info(
                "a job is tried again later",
                action="job.retry",
                job_id=str(received.job_id),
                error=str(error),
                delay_seconds=error.delay_seconds,
            )
            await self.give_back([received], delay_seconds=error.delay_seconds)
            return
        log.error("a decision failed", action="job.decide", job_id=str(received.job_id), exc_info=error)
        if received.admitted:
            # The `Check` counts its deliveries, and is dead-lettered with this error in the end.
            await self.give_back([received], delay_seconds=_RETRY_FAILED_SECONDS)
        for delivery, message in received.entries:
            if delivery.deliveries >= self._max_deliveries:
                await self.dead_letter(delivery, messages.type_name(message), repr(error))
            else:
                await self._retry(delivery, first_seconds=2.0, max_seconds=60.0)

    async def delete_failed(self, delivery: ports.Delivery, message: Delete, error: Exception) -> bool:
        """Let a delete come back; False when it is done with, because the job's own check sends a new one."""
        if isinstance(error, ConfigurationError):
            raise error
        log.warning(
            "a delete failed",
            action="job.delete",
            job_id=str(message.job_id),
            attempt=message.attempt,
            error=repr(error),
            temporary=isinstance(error, TemporaryError),
        )
        if delivery.deliveries >= self._max_deliveries:
            return False
        await self._retry(delivery, first_seconds=2.0, max_seconds=30.0)
        return True

    async def report_gone(self, message: Delete, uids: Sequence[str]) -> None:
        """Report what a delete did not find: nobody may have seen it go. If that is lost, the job's own check looks.

        An object is told by its uid, which never comes back.
        """
        told = [
            Observed(
                job_id=message.job_id,
                attempt=message.attempt,
                seen=JobFacts(uid=uid, gone=True) if uid == message.cluster_uid else PodFacts(uid=uid, gone=True),
            )
            for uid in uids
        ]
        if told:
            with contextlib.suppress(TemporaryError):
                await self._queue.send([Outgoing(message=each) for each in told])

    async def _retry(self, delivery: ports.Delivery, *, first_seconds: float, max_seconds: float) -> None:
        delay_seconds = backoff.delay_seconds(delivery.deliveries, first_seconds=first_seconds, max_seconds=max_seconds)
        await self._return([delivery], delay_seconds=delay_seconds, counted=True)


async def leave_to_others(queue: ports.MessageQueue, job_ids: Sequence[UUID], *, delay_seconds: float) -> None:
    """Let other processors look at jobs that were admitted here and are not created yet."""
    await queue.send([Outgoing(message=Check(job_id=job_id), delay_seconds=delay_seconds) for job_id in job_ids])
