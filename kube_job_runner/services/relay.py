"""The outbox relay: sends messages that were committed to the database on to an external queue, at least once.

Rows are leased, not read from a cursor. So a row that commits late is not skipped, two relays share the work, and what a killed
relay held comes back when its lease ends. A crash between the send and the removal of the row sends a message twice. It never
loses one.
"""

import asyncio
import contextlib
from collections.abc import Sequence

import msgspec

from kube_job_runner import ports
from kube_job_runner.domain.errors import KjrError, TemporaryError
from kube_job_runner.telemetry import loggers, metrics

log = loggers.get_logger(__name__)


class RelaySettings(msgspec.Struct, frozen=True, kw_only=True):
    """Sizes and times. `lease_seconds` is also how much later a message is sent when its relay was killed."""

    batch_size: int = 400
    lease_seconds: float = 15.0
    wait_seconds: float = 1.0


DEFAULTS = RelaySettings()


class Relay:
    """Sends from the outbox to a queue. Any number may run at once."""

    def __init__(
        self, *, outbox: ports.MessageQueue, sink: ports.MessageSink, settings: RelaySettings = DEFAULTS
    ) -> None:
        self._outbox = outbox
        self._sink = sink
        self._settings = settings

    async def run_once(self) -> int:
        """Send one batch; return how many messages it held.

        Raises:
            TemporaryError: the database or the queue does not answer. What was not sent waits in the outbox.
        """
        batch = await self._outbox.receive(
            limit=self._settings.batch_size,
            wait_seconds=self._settings.wait_seconds,
            visibility_seconds=self._settings.lease_seconds,
        )
        if batch:
            await self._send(batch)
        return len(batch)

    async def measure(self) -> None:
        """Bring the gauges of the queue up to date.

        Raises:
            TemporaryError: the queue does not answer.
        """
        counts = await self._sink.counts()
        for state, messages in (
            ("waiting", counts.waiting),
            ("in_flight", counts.in_flight),
            ("delayed", counts.delayed),
            ("dead", counts.dead),
        ):
            metrics.sqs_messages.labels(state).set(messages)

    async def _send(self, batch: Sequence[ports.Delivery]) -> None:
        try:
            outcomes = await self._sink.send_bodies([delivery.body for delivery in batch])
        except BaseException:
            with contextlib.suppress(TemporaryError):
                await asyncio.shield(self._give_back(batch, delay_seconds=0.0))
            raise
        sent: list[ports.Delivery] = []
        waiting: list[ports.Delivery] = []
        temporary: TemporaryError | None = None
        for delivery, outcome in zip(batch, outcomes, strict=True):
            if outcome is None:
                sent.append(delivery)
            elif isinstance(outcome, TemporaryError):
                temporary = outcome
                waiting.append(delivery)
            else:
                await self._refused(delivery, outcome)
        await self._outbox.ack([delivery.receipt for delivery in sent])
        metrics.relayed.labels("sent").inc(len(sent))
        if temporary is not None:
            metrics.relayed.labels("put_off").inc(len(waiting))
            await self._give_back(waiting, delay_seconds=temporary.delay_seconds)
            raise temporary

    async def _refused(self, delivery: ports.Delivery, error: KjrError) -> None:
        """Dead-letter a message that can never be sent, so that a person sees it and it does not block the others."""
        log.error("a message was not sent", action="message.relay", error=str(error))
        metrics.relayed.labels("refused").inc()
        await self._outbox.dead_letter([delivery], error=str(error))

    async def _give_back(self, batch: Sequence[ports.Delivery], *, delay_seconds: float) -> None:
        await self._outbox.extend([delivery.receipt for delivery in batch], visibility_seconds=delay_seconds)


class QueueHealth:
    """`Health` of a component that also needs an external queue.

    Everybody may read a check, so the queue's own words (an address, an account) go to the log.
    """

    def __init__(self, store: ports.Health, sink: ports.MessageSink) -> None:
        self._store = store
        self._sink = sink
        self._logged: str | None = None

    async def check(self) -> dict[str, str | None]:
        """Return the readiness checks of the store, and `queue`."""
        problem = await self._sink.problem()
        if problem is not None and problem != self._logged:
            log.warning("the queue is not ready", action="queue.check", error=problem)
        self._logged = problem
        said = None if problem is None else "the queue cannot be used; the log says why (action queue.check)"
        return {**await self._store.check(), "queue": said}

    async def depth(self) -> ports.QueueDepth:
        """Return the depth of the outbox: the messages in the store."""
        return await self._store.depth()
