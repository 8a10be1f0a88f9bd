"""The batch pipeline: lease messages, load their jobs, decide, admit what waits, act on the cluster, commit, acknowledge.

Handlers may raise `TemporaryError` (the message comes back later) and `PermanentError`; anything else is a bug: it is logged,
the message comes back, and after `max_deliveries` it is dead-lettered. One bad message never takes its batch down.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Mapping, Sequence
from uuid import UUID

from kube_job_runner import ports
from kube_job_runner.domain import backoff, messages
from kube_job_runner.domain.decide import creation, lifecycle, observation
from kube_job_runner.domain.decide.ruleset import Rules
from kube_job_runner.domain.errors import PermanentError, TemporaryError
from kube_job_runner.domain.facts import PodFacts
from kube_job_runner.domain.limits import AdmissionLimits
from kube_job_runner.domain.messages import Delete, Message, Observed, Outgoing, Submitted
from kube_job_runner.domain.record import trace
from kube_job_runner.services.pipeline import batch_lease, job_metrics
from kube_job_runner.services.pipeline.batch import Batch, Work
from kube_job_runner.services.pipeline.effects import Effects
from kube_job_runner.settings.groups import BatchSettings
from kube_job_runner.telemetry import loggers, metrics

log = loggers.get_logger(__name__)

ADMIT_SECONDS = 1.0  # admission is tried so often even when no message asks for it
UNKNOWN_ATTEMPT_DELIVERIES = 9  # with doubling delays two minutes: longer than the lease of a create in flight
_RETRY_SOON_SECONDS = 0.05
_RETRY_FAILED_SECONDS = 2.0


class Processor:
    """Works through the queue. Any number may run at once: leases share the work, versions settle every race."""

    def __init__(
        self,
        *,
        store: ports.ProcessStore,
        queue: ports.MessageQueue,
        cluster: ports.ClusterWriter,
        clock: ports.Clock,
        rules: Rules,
        limits: AdmissionLimits,
        settings: BatchSettings,
        admit_seconds: float = ADMIT_SECONDS,
        tracer: ports.Tracer | None = None,
    ) -> None:
        self._store = store
        self._queue = queue
        self._effects = Effects(cluster=cluster, rules=rules, tracing=tracer is not None)
        self._tracer = tracer
        self._clock = clock
        self._rules = rules
        self._limits = limits
        self._settings = settings
        self._admit_seconds = admit_seconds
        self._admit_at = clock.monotonic() + admit_seconds

    async def run_once(self, *, wait_seconds: float | None = None) -> int:
        """Work on one batch; return how many messages and admitted jobs it held. As `take`, then `work`."""
        batch = await self.take(wait_seconds=wait_seconds)
        return await self.work(batch) if batch is not None else 0

    async def take(self, *, wait_seconds: float | None = None) -> Batch | None:
        """Lease the next messages; None when there is nothing to do. Waits up to `wait_seconds` for the first.

        Raises:
            TemporaryError: the store or the queue does not answer; the messages come back by themselves.
        """
        deliveries = await self._queue.receive(
            limit=self._settings.batch_size,
            wait_seconds=self._queue.receive_seconds if wait_seconds is None else wait_seconds,
            visibility_seconds=self._settings.lease_seconds,
        )
        if not deliveries and self._clock.monotonic() < self._admit_at:
            return None
        return Batch(deliveries=deliveries)

    async def work(self, batch: Batch) -> int:
        """Work on a batch that was just taken; return how many messages and admitted jobs it held.

        Raises:
            TemporaryError: the store or the queue does not answer; the messages come back by themselves.
        """
        with metrics.batch_seconds.time(), metrics.pipelines_busy.track_inprogress():
            lease = batch_lease.held(batch, self._queue, self._clock, lease_seconds=self._settings.lease_seconds)
            async with lease as lease_holds:
                await self._work(batch, lease_holds)
        return len(batch.deliveries) + len(batch.admitted)

    async def _work(self, batch: Batch, lease_holds: Callable[[], bool]) -> None:
        await self._sort(batch)
        removing = asyncio.ensure_future(self._remove(batch))
        try:
            await self._decide_and_commit(batch, lease_holds)
        finally:
            await removing

    async def _sort(self, batch: Batch) -> None:
        """Decode a batch and group it by job; what cannot be decoded, or never ends well, is dead-lettered."""
        for delivery in batch.deliveries:
            try:
                message = messages.decode(delivery.body)
            except ValueError as error:
                await self._dead_letter(delivery, "unreadable", f"unreadable message: {error}")
                continue
            if delivery.deliveries > self._settings.max_deliveries:
                error_text = f"delivered {delivery.deliveries - 1} times and never acknowledged"
                await self._dead_letter(delivery, messages.type_name(message), error_text)
            elif isinstance(message, Delete):
                batch.deletes.append((delivery, message))
            elif isinstance(message, Submitted):
                batch.submitted.entries.append((delivery, message))
            else:
                batch.work.setdefault(message.job_id, Work(job_id=message.job_id)).entries.append((delivery, message))

    async def _dead_letter(self, delivery: ports.Delivery, type_: str, error: str) -> None:
        log.error("message dead-lettered", action="message.dead_letter", type=type_, error=error)
        try:
            await self._queue.dead_letter([delivery], error=error)
        except TemporaryError as failed:
            # It comes back at its lease's end; the rest of its batch has nothing to do with it.
            log.warning("a dead letter could not be put away", action="message.dead_letter", error=str(failed))
            return
        metrics.messages_handled.labels(type_, "dead_lettered").inc()

    async def _decide_and_commit(self, batch: Batch, lease_holds: Callable[[], bool]) -> None:
        acting = await self._decide_all(batch.work) if batch.work else []
        asked = bool(batch.submitted.entries) or self._clock.monotonic() >= self._admit_at
        if asked or any(item.frees or item.waits for item in batch.work.values()):
            acting += await self._admit(batch)
        acted = await asyncio.gather(*(self._act(item, lease_holds) for item in acting))
        done = [item for item, acted_on in zip(acting, acted, strict=True) if acted_on]
        await self._commit([*done, batch.submitted] if batch.submitted.entries else done)
        for item in done:
            if item.frees:
                await self._ask_for_admission(item.job_id)
                break

    async def _decide_all(self, work: Mapping[UUID, Work]) -> list[Work]:
        """Decide about each job and commit what needs nothing of the cluster; return the work that does."""
        snapshot = await self._store.load(list(work))
        ready: list[Work] = []
        acting: list[Work] = []
        for item in work.values():
            item.loaded = snapshot.jobs.get(item.job_id)
            item.unreadable = snapshot.unreadable.get(item.job_id, "")
            item.now = snapshot.now
            if await self._decided(item) and item.entries:
                (acting if item.decision and item.decision.effect else ready).append(item)
        # What needs nothing of the cluster is committed before the slow part begins.
        await self._commit(ready)
        return acting

    async def _admit(self, batch: Batch) -> list[Work]:
        """Admit waiting jobs and decide about them: they are created with this batch, without another message."""
        asked_at = self._clock.monotonic()
        self._admit_at = asked_at + self._admit_seconds
        lease_seconds = self._settings.lease_seconds
        admitting = asyncio.ensure_future(
            self._store.admit(self._limits, limit=self._settings.batch_size, lease_seconds=lease_seconds)
        )
        try:
            await asyncio.shield(admitting)
        finally:
            # Even when we are told to stop meanwhile, what was admitted has to be known, to be handed on.
            snapshot = await asyncio.shield(admitting)
            batch.admitted = [
                Work(job_id=job_id, loaded=loaded, now=snapshot.now, act_until=asked_at + lease_seconds)
                for job_id, loaded in snapshot.jobs.items()
            ]
            for job_id, why in snapshot.unreadable.items():
                # Its own check finds it again, and has it dead-lettered with this in the end.
                log.error("an admitted job was not created", action="job.create", job_id=str(job_id), error=why)
        if len(batch.admitted) >= self._settings.batch_size:
            # There may be more than one batch holds: whoever is free takes the next.
            await self._ask_for_admission(batch.admitted[0].job_id)
        return [item for item in batch.admitted if await self._decided(item)]

    async def _ask_for_admission(self, job_id: UUID) -> None:
        """Send the message that lets a processor admit more. Should it be lost, the next round does."""
        with contextlib.suppress(TemporaryError):
            await self._queue.send([Outgoing(message=Submitted(job_id=job_id))])

    async def _decided(self, item: Work) -> bool:
        try:
            await self._decide(item)
        except Exception as error:  # noqa: BLE001 - a bug in one job's decision must not stop the others
            await self._failed(item, error)
            return False
        return True

    async def _decide(self, item: Work) -> None:
        assert item.now is not None
        if item.unreadable:
            raise RuntimeError(item.unreadable)
        if item.loaded is None:
            # Removed by retention, or never ours: there is nothing to decide, and the messages are done with.
            log.warning("message for an unknown job", action="message.unknown_job", job_id=str(item.job_id))
            metrics.unknown_objects.inc(len(item.entries))
            return
        item.attempts = dict(item.loaded.attempts)
        await self._observe(item)
        if not item.entries and item.act_until is None:
            return
        item.decision = lifecycle.decide(item.loaded.job, item.attempts, now=item.now, rules=self._rules)

    async def _observe(self, item: Work) -> None:
        """Join the observations of a batch into the attempts; those of an attempt not recorded yet come back later."""
        assert item.loaded is not None
        assert item.now is not None
        for entry in list(item.entries):
            _, message = entry
            if not isinstance(message, Observed):
                continue
            known = item.attempts.get(message.attempt)
            if known is None:
                known = creation.stray(item.loaded.job, message, now=item.now)
            if known is None:
                await self._too_early(item, entry)
                continue
            attempt = observation.observe(known, message.seen)
            if isinstance(message.seen, PodFacts):
                job_metrics.count_unknown(message.seen, self._rules.table)
            if attempt is not item.attempts.get(message.attempt):
                item.attempts[message.attempt] = item.observed[message.attempt] = attempt

    async def _too_early(self, item: Work, entry: tuple[ports.Delivery, Message]) -> None:
        delivery, _ = entry
        if delivery.deliveries >= min(UNKNOWN_ATTEMPT_DELIVERIES, self._settings.max_deliveries):
            metrics.unknown_objects.inc()
            return
        item.entries.remove(entry)
        metrics.messages_handled.labels("observed", "early").inc()
        delay_seconds = backoff.delay_seconds(delivery.deliveries, first_seconds=0.25, max_seconds=60.0)
        await self._queue.extend([delivery.receipt], visibility_seconds=delay_seconds)

    async def _act(self, item: Work, lease_holds: Callable[[], bool]) -> bool:
        """Carry out the effect of a decision, if it has one; False when the job has to wait for another turn."""
        assert item.loaded is not None
        assert item.decision is not None
        assert item.now is not None
        if item.decision.effect is None:
            return True
        try:
            if not (lease_holds() if item.act_until is None else self._clock.monotonic() < item.act_until):
                # Others may have this job by now; a create of ours could come after everything is over.
                raise TemporaryError("the lease ran out before the effect", delay_seconds=0.0)
            item.outcome = await self._effects.act(item.decision.effect, item.loaded, item.attempts, now=item.now)
        except Exception as error:  # noqa: BLE001 - a bug in one job's effect must not stop the others
            await self._failed(item, error)
            return False
        item.decision = item.outcome.decision
        return True

    async def _commit(self, items: Sequence[Work]) -> None:
        if not items:
            return
        changes = [change for item in items if (change := item.change()) is not None]
        receipts = {item.job_id: item.receipts for item in items}
        try:
            applied = await self._store.commit(changes, receipts=receipts)
        except TemporaryError as error:
            # The outcome is unknown; every handler is safe to repeat, so the messages simply come back.
            log.warning("batch not committed", action="batch.commit", error=str(error), jobs=len(items))
            await self._give_back(items, delay_seconds=error.delay_seconds)
            return
        except PermanentError as error:
            # The store refuses something in it: one job at a time, so that only the one at fault comes back.
            if len(items) == 1:
                await self._failed(items[0], error)
            else:
                for item in items:
                    await self._commit([item])
            return
        lost = {change.job.id for change in changes} - applied
        job_metrics.count_changes(change for change in changes if change.job.id in applied)
        done = [item for item in items if item.job_id not in lost]
        for item in done:
            item.settled = True
        job_metrics.count_messages(message for item in done for _, message in item.entries)
        if self._tracer is not None:
            for ended in filter(None, (item.ended() for item in done)):
                self._tracer.record(trace.of_ended(*ended))
        if lost:
            metrics.commit_conflicts.inc(len(lost))
            await self._overtaken([item for item in items if item.job_id in lost])
        if not self._queue.transactional:
            await self._acknowledge([receipt for item in done for receipt in item.receipts])

    async def _acknowledge(self, receipts: Sequence[str]) -> None:
        try:
            await self._queue.ack(receipts)
        except TemporaryError as error:
            # All is recorded: when the messages come again, they tell nothing new.
            log.warning(
                "messages not acknowledged", action="message.acknowledge", error=str(error), messages=len(receipts)
            )

    async def _overtaken(self, items: Sequence[Work]) -> None:
        """Another processor changed these jobs first: remove what we made for a job that ended meanwhile, look again."""
        made = {item.job_id: item.outcome for item in items if item.outcome and item.outcome.made}
        if made:
            snapshot = await self._store.load(list(made))
            changes = []
            for job_id, loaded in snapshot.jobs.items():
                outcome = made[job_id]
                assert outcome.made is not None
                decision = creation.remove_stray(
                    loaded.job, loaded.attempts, outcome.attempt, outcome.made, now=snapshot.now, rules=self._rules
                )
                if decision is not None:
                    changes.append(job_metrics.change(loaded.job, decision, decision.attempts))
            await self._store.commit(changes, receipts={})
        await self._give_back(items, delay_seconds=_RETRY_SOON_SECONDS)

    async def _give_back(self, items: Sequence[Work], *, delay_seconds: float) -> None:
        """Let the messages of these jobs come back, and a check for each that was admitted without one."""
        receipts = [receipt for item in items for receipt in item.receipts]
        admitted = [item for item in items if item.act_until is not None]
        with contextlib.suppress(TemporaryError):
            await self._queue.extend(receipts, visibility_seconds=delay_seconds)
            await batch_lease.hand_on(self._queue, [item.job_id for item in admitted], delay_seconds=delay_seconds)
            for item in admitted:
                item.settled = True

    async def _failed(self, item: Work, error: Exception) -> None:
        """Send the messages of a job back after an error: soon when it was temporary, to the dead letters at the cap."""
        if isinstance(error, TemporaryError):
            log.info(
                "try again later",
                action="job.retry",
                job_id=str(item.job_id),
                error=str(error),
                delay_seconds=error.delay_seconds,
            )
            await self._give_back([item], delay_seconds=error.delay_seconds)
            return
        log.error("a decision failed", action="job.decide", job_id=str(item.job_id), exc_info=error)
        if item.act_until is not None:
            # The check counts its deliveries, and is dead-lettered with this error in the end.
            await self._give_back([item], delay_seconds=_RETRY_FAILED_SECONDS)
        for delivery, message in item.entries:
            if delivery.deliveries >= self._settings.max_deliveries:
                await self._dead_letter(delivery, messages.type_name(message), repr(error))
            else:
                delay_seconds = min(2.0**delivery.deliveries, 60.0)
                await self._queue.extend([delivery.receipt], visibility_seconds=delay_seconds)

    async def _remove(self, batch: Batch) -> None:
        """Carry out the deletes of a batch, and acknowledge them together."""
        done = await asyncio.gather(*(self._delete(delivery, message) for delivery, message in batch.deletes))
        if receipts := [receipt for receipt in done if receipt]:
            await self._acknowledge(receipts)

    async def _delete(self, delivery: ports.Delivery, message: Delete) -> str:
        """Carry out a delete; return the receipt to acknowledge, or nothing when the message comes back."""
        try:
            await self._effects.delete(message)
        except Exception as error:  # noqa: BLE001 - one bad delete must not take its batch down
            temporary = isinstance(error, TemporaryError)
            log.warning(
                "delete failed",
                action="job.delete",
                job_id=str(message.job_id),
                attempt=message.attempt,
                error=repr(error),
                temporary=temporary,
            )
            if delivery.deliveries < self._settings.max_deliveries:
                delay_seconds = min(2.0**delivery.deliveries, 30.0)
                await self._queue.extend([delivery.receipt], visibility_seconds=delay_seconds)
                return ""
            # Past the cap the job's own check sends a new delete.
        job_metrics.count_messages([message])
        return delivery.receipt
