"""The batch pipeline: lease messages, load their jobs, decide, admit what waits, act on the cluster, commit, acknowledge.

An error in one job never takes its batch down. What happens to its messages is decided in `redelivery`.
"""

import asyncio
import contextlib
from collections.abc import Sequence
from uuid import UUID

import msgspec

from kube_job_runner import ports
from kube_job_runner.domain import messages
from kube_job_runner.domain.decide.decision import Create, Look
from kube_job_runner.domain.decide.ruleset import Rules
from kube_job_runner.domain.errors import ConfigurationError, TemporaryError
from kube_job_runner.domain.limits import AdmissionLimits
from kube_job_runner.domain.messages import Delete, Outgoing, Submitted
from kube_job_runner.ports.send_lease import SendLease, sending
from kube_job_runner.services.cluster_identity import IdentityCheck
from kube_job_runner.services.pipeline import holding, job_metrics
from kube_job_runner.services.pipeline.batch import Acted, Batch, Decided, Received
from kube_job_runner.services.pipeline.committer import Committer
from kube_job_runner.services.pipeline.decider import Decider
from kube_job_runner.services.pipeline.effects import Effects
from kube_job_runner.services.pipeline.isolation import Floor, Isolation
from kube_job_runner.services.pipeline.redelivery import Redelivery
from kube_job_runner.services.pipeline.turns import Turn
from kube_job_runner.services.pipeline.watch_cache import WatchCache
from kube_job_runner.settings.groups import BatchSettings
from kube_job_runner.telemetry import loggers, metrics

log = loggers.get_logger(__name__)

LEASES = 5
"""Leases after which a batch is given up: something in it never ends. Every request has its own, shorter limit."""
UNFINISHED_LEASES = 2
LEAST_SECONDS = 1.0
ADMIT_SECONDS = 1.0  # how often admission is tried even when no message asks for it


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
        watches: ports.WatchReader | None = None,
    ) -> None:
        self._store = store
        self._queue = queue
        self._cluster = cluster
        self._clock = clock
        self._limits = limits
        self._settings = settings
        self._identity = IdentityCheck(cluster, store, clock)
        create_seconds = settings.lease_seconds + rules.create_settle_seconds
        self._redelivery = Redelivery(queue, max_deliveries=settings.max_deliveries, create_seconds=create_seconds)
        self._isolation = Isolation(batch_size=settings.batch_size, max_deliveries=settings.max_deliveries)
        self._floor = Floor()
        self._store_away = False
        self._watches = WatchCache(watches, clock)
        self._decider = Decider(rules=rules, redelivery=self._redelivery)
        self._effects = Effects(cluster=cluster, identity=self._identity, rules=rules, tracing=tracer is not None)
        self._committer = Committer(
            store=store, transactional=queue.transactional, redelivery=self._redelivery, rules=rules, tracer=tracer
        )
        self._admit_seconds = admit_seconds
        self._admit_at = clock.monotonic() + admit_seconds

    async def run_once(self, *, wait_seconds: float | None = None) -> int:
        """Work on one batch; return how many messages and admitted jobs it held. As `take`, then `work`.

        A batch that is worked on in groups is worked on to its end.
        """
        batch = await self.take(wait_seconds=wait_seconds)
        count = 0
        while batch is not None:
            count += await self.work(batch)
            batch = await self.take(wait_seconds=0.0) if batch.more else None
        return count

    async def take(self, *, wait_seconds: float | None = None) -> Batch | None:
        """Lease the next messages; None when there is nothing to do. Waits up to `wait_seconds` for the first.

        Raises:
            TemporaryError: the store or the queue does not answer; the messages come back by themselves.
        """
        await self._redelivery.settle()
        if self._store_away:
            await self._store.load(())  # while it is away, messages are better left in the queue
            self._store_away = False
        deliveries = await self._queue.receive(
            limit=self._settings.batch_size,
            wait_seconds=self._queue.receive_seconds if wait_seconds is None else wait_seconds,
            visibility_seconds=self._settings.lease_seconds,
        )
        if not deliveries and self._clock.monotonic() < self._admit_at:
            return None
        return await self._batch(deliveries)

    async def _batch(self, deliveries: Sequence[ports.Delivery]) -> Batch:
        """Make a batch of what was received. If a receiver of it was killed, only of a part: the others are given back."""
        picked = self._isolation.pick(deliveries)
        unfinished = any(delivery.unfinished for delivery in picked.now)
        if unfinished:
            log.warning(
                "messages that a processor did not finish are worked on apart",
                action="batch.isolate",
                messages=len(picked.now),
                given_back=len(picked.later),
                alone=picked.alone,
            )
        await self._redelivery.give_up(picked.later, delay_seconds=0.0)
        return Batch(deliveries=picked.now, unfinished=unfinished, alone=picked.alone, more=bool(picked.later))

    async def work(self, batch: Batch) -> int:
        """Work on a batch that was just taken; return how many messages and admitted jobs it held.

        Raises:
            TemporaryError: the store or the queue does not answer, or the batch failed as a whole; its messages come back.
        """
        with metrics.batch_seconds.time(), metrics.pipelines_busy.track_inprogress():
            try:
                await self._work_in_time(batch)
            except TemporaryError:
                self._store_away = True
                raise
            except ConfigurationError:
                raise
            except Exception as error:
                # One of its messages may be the cause. It must not end the process, and is found in ever smaller groups.
                log.error("a batch failed", action="batch.fail", messages=len(batch.deliveries), exc_info=error)
                raise TemporaryError(f"a batch of {len(batch.deliveries)} messages failed: {error!r}") from error
        return len(batch.deliveries) + len(batch.admitted)

    async def _work_in_time(self, batch: Batch) -> None:
        lease_seconds = self._settings.lease_seconds
        lease = holding.held(batch, self._queue, self._redelivery, self._clock, lease_seconds=lease_seconds)
        most_seconds = max(LEAST_SECONDS, lease_seconds * (UNFINISHED_LEASES if batch.unfinished else LEASES))
        async with lease as held, self._floor.entered(alone=batch.alone), asyncio.timeout(most_seconds):
            await self._work(batch, held)

    async def _work(self, batch: Batch, lease: SendLease) -> None:
        await self._sort(batch)
        removing = asyncio.ensure_future(self._delete_all(batch.deletes, lease))
        try:
            await self._decide_and_commit(batch, lease)
        except asyncio.CancelledError:
            removing.cancel()
            raise
        finally:
            await removing

    async def _delete_all(self, deletes: Sequence[tuple[ports.Delivery, Delete]], lease: SendLease) -> None:
        """Carry out deletes at once, and acknowledge together those that are done. A delete destroys evidence."""
        done = await asyncio.gather(*(self._delete(delivery, message, lease) for delivery, message in deletes))
        if any(done):
            await self._redelivery.acknowledge(
                [delivery.receipt for (delivery, _), is_done in zip(deletes, done, strict=True) if is_done]
            )

    async def _delete(self, delivery: ports.Delivery, message: Delete, lease: SendLease) -> bool:
        """Carry out one delete; False when its message comes back."""
        try:
            await self._identity.check()
            with sending(lease) as sent:
                deletion = self._cluster.delete(
                    message.namespace,
                    message.cluster_name,
                    cluster_uid=message.cluster_uid,
                    wait_for_pods=message.wait_for_pods,
                    pods=message.pods,
                    grace_seconds=message.grace_seconds,
                )
                await job_metrics.counted("delete", self._identity.watched(deletion))
            await self._redelivery.report_gone(message, sent.gone)
        except Exception as error:  # noqa: BLE001 - one bad delete must not take its batch down
            if await self._redelivery.delete_failed(delivery, message, error):
                return False
        job_metrics.count_messages([message])
        return True

    async def _sort(self, batch: Batch) -> None:
        """Decode a batch and group it by job. What cannot be decoded, or never ends well, is dead-lettered."""
        for delivery in batch.deliveries:
            if self._isolation.worn_out(delivery):
                # It is not even decoded: whatever was done with it may have ended the process.
                error_text = f"delivered {delivery.deliveries - 1} times and never acknowledged"
                await self._redelivery.dead_letter(delivery, "unknown", error_text)
                continue
            try:
                message = messages.decode(delivery.body)
            except ValueError as error:
                await self._redelivery.dead_letter(delivery, "unreadable", f"unreadable message: {error}")
                continue
            if isinstance(message, Delete):
                batch.deletes.append((delivery, message))
            elif isinstance(message, Submitted):
                batch.submitted.entries.append((delivery, message))
            else:
                of_job = batch.received.setdefault(message.job_id, Received(job_id=message.job_id))
                of_job.entries.append((delivery, message))

    async def _decide_and_commit(self, batch: Batch, lease: SendLease) -> None:
        decided, acting = await self._decide_received(batch)
        asked = bool(batch.submitted.entries) or self._clock.monotonic() >= self._admit_at
        # A batch that may kill this process takes no other jobs with it. The next one admits them.
        asked = not batch.unfinished and (asked or any(item.frees or item.waits for item in decided))
        if asked and await self._identity.known():
            acting += await self._admit(batch)
        looking = [item for item in acting if isinstance(item.decision.effect, Look)]
        others = [item for item in acting if not isinstance(item.decision.effect, Look)]
        submitted = [Acted(received=batch.submitted)] if batch.submitted.entries else []
        # A look may wait for its turn. What was created meanwhile is committed without it.
        done, seen = await asyncio.gather(
            self._act_and_commit(others, lease, more=submitted), self._act_and_commit(looking, lease)
        )
        done += seen
        freed = next((item for item in done if item.frees), None)
        if freed is not None:
            await self._ask_for_admission(freed.received.job_id)

    async def _act_and_commit(
        self, items: Sequence[Decided], lease: SendLease, *, more: Sequence[Acted] = ()
    ) -> list[Acted]:
        """Carry out the effects of these decisions at once, and commit what is done; return it."""
        outcomes = await asyncio.gather(*(self._act(item, lease) for item in items))
        done = [item for item in outcomes if item is not None]
        await self._committer.commit([*done, *more])
        return done

    async def _decide_received(self, batch: Batch) -> tuple[list[Decided], list[Decided]]:
        """Decide about each job that has messages; return all, and those that act on the cluster.

        What needs nothing of the cluster is committed before the slow part.
        """
        if not batch.received:
            return [], []
        lease = SendLease(self._clock, seconds=self._settings.lease_seconds)
        snapshot = msgspec.structs.replace(
            await self._store.load(list(batch.received)), watched=await self._watches.current()
        )
        found = [await self._decider.decide(received, snapshot) for received in batch.received.values()]
        decided = [item for item in found if isinstance(item, Decided)]
        unknown = [item for item in found if isinstance(item, Acted)]
        await self._committer.commit([*unknown, *(item.acted() for item in decided if item.decision.effect is None)])
        acting = [item for item in decided if item.decision.effect is not None]
        creating = [item for item in acting if isinstance(item.decision.effect, Create)]
        others = [item for item in acting if not isinstance(item.decision.effect, Create)]
        turns = await self._committer.take_turns(creating, lease, lease_seconds=self._settings.lease_seconds)
        return decided, [*turns, *others]

    async def _admit(self, batch: Batch) -> list[Decided]:
        """Admit waiting jobs and decide about them: they are created with this batch, without another message."""
        self._admit_at = self._clock.monotonic() + self._admit_seconds
        lease_seconds = self._settings.lease_seconds
        lease = SendLease(self._clock, seconds=lease_seconds)
        admitting = asyncio.ensure_future(
            self._store.admit(self._limits, limit=self._settings.batch_size, lease_seconds=lease_seconds)
        )
        try:
            await asyncio.shield(admitting)
        finally:
            # Even if this process has to stop: it must know what was admitted, so that it can leave it to other processes.
            snapshot = await asyncio.shield(admitting)
            batch.admitted = [_admitted(job_id, loaded, lease) for job_id, loaded in snapshot.jobs.items()]
            for job_id, why in snapshot.unreadable.items():
                # Its own check finds it again, and is dead-lettered with this error in the end.
                log.error("an admitted job was not created", action="job.create", job_id=str(job_id), error=why)
        if len(batch.admitted) >= self._settings.batch_size:
            # More jobs may wait than one batch holds. The next free pipeline takes them.
            await self._ask_for_admission(batch.admitted[0].job_id)
        found = [await self._decider.decide(received, snapshot) for received in batch.admitted]
        return [item for item in found if isinstance(item, Decided)]

    async def _ask_for_admission(self, job_id: UUID) -> None:
        """Send the message that lets a processor admit more. If it is lost, the next round does."""
        with contextlib.suppress(TemporaryError):
            await self._queue.send([Outgoing(message=Submitted(job_id=job_id))])

    async def _act(self, item: Decided, lease: SendLease) -> Acted | None:
        """Carry out the effect of a decision, if it has one; None when the job has to wait for another turn.

        Another process may have the job after the lease, and may have ended it. So nothing is sent after it.
        """
        effect, turn = item.decision.effect, item.received.turn
        if effect is None:
            return item.acted()
        try:
            with sending(lease):
                outcome = await self._effects.act(
                    effect, item.loaded, item.attempts, now=item.now, turn=turn, watched=item.watched
                )
            return item.acted(outcome)
        except Exception as error:  # noqa: BLE001 - a bug in one job's effect must not stop the others
            await self._redelivery.failed(item.received, error)
            return None


def _admitted(job_id: UUID, loaded: ports.LoadedJob, lease: SendLease) -> Received:
    turn = Turn(lease=lease, create_until=loaded.job.create_until)
    return Received(job_id=job_id, admitted=True, turn=turn)
