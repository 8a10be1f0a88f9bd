"""Commits what a batch decided: rows, history, messages and acknowledgements in one transaction."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from uuid import UUID

import msgspec

from kube_job_runner import ports
from kube_job_runner.domain.decide import create_lease, creation
from kube_job_runner.domain.decide.decision import Decision
from kube_job_runner.domain.decide.ruleset import Rules
from kube_job_runner.domain.errors import PermanentError, TemporaryError
from kube_job_runner.domain.record import trace
from kube_job_runner.ports.send_lease import SendLease
from kube_job_runner.services.pipeline import job_metrics
from kube_job_runner.services.pipeline.batch import Acted, Decided, change
from kube_job_runner.services.pipeline.redelivery import RETRY_SOON_SECONDS, Redelivery
from kube_job_runner.services.pipeline.turns import Turn
from kube_job_runner.telemetry import loggers, metrics

log = loggers.get_logger(__name__)

_SETTLE_TRIES = 3


class Committer:
    """Commits the outcomes of many jobs at once; the version of a job resolves races with other processors."""

    def __init__(
        self,
        *,
        store: ports.ProcessStore,
        transactional: bool,
        redelivery: Redelivery,
        rules: Rules,
        tracer: ports.Tracer | None,
    ) -> None:
        self._store = store
        self._transactional = transactional
        self._redelivery = redelivery
        self._rules = rules
        self._tracer = tracer

    async def commit(self, items: Sequence[Acted]) -> None:
        """Commit these outcomes and acknowledge their messages. What is not committed comes back."""
        if not items:
            return
        changes = [item.change for item in items if item.change is not None]
        receipts = {item.received.job_id: item.received.receipts for item in items}
        try:
            applied = await self._store.commit(changes, receipts=receipts)
        except TemporaryError as error:
            # The outcome is unknown. Every handler is safe to repeat, so the messages come back.
            log.warning("a batch was not committed", action="batch.commit", error=str(error), jobs=len(items))
            await self._give_back(items, delay_seconds=error.delay_seconds)
        except PermanentError as error:
            await self._refused(items, error)
        else:
            await self._committed(items, [entry for entry in changes if entry.job.id in applied])

    async def _refused(self, items: Sequence[Acted], error: PermanentError) -> None:
        """The store refuses the batch: commit one job at a time, so that only the faulty one is redelivered."""
        if len(items) == 1:
            await self._redelivery.failed(items[0].received, error)
            return
        for item in items:
            await self.commit([item])

    async def _committed(self, items: Sequence[Acted], applied: Sequence[ports.Change]) -> None:
        ids = {entry.job.id for entry in applied}
        overtaken = [item for item in items if item.change is not None and item.change.job.id not in ids]
        done = [item for item in items if item.change is None or item.change.job.id in ids]
        job_metrics.count_changes(applied)
        job_metrics.count_messages(message for item in done for _, message in item.received.entries)
        for item in done:
            item.received.settled = True
            if self._tracer is not None and item.ended is not None:
                self._tracer.record(trace.of_ended(*item.ended))
        if overtaken:
            metrics.commit_conflicts.inc(len(overtaken))
            await self._settle(overtaken)
            await self._give_back(overtaken, delay_seconds=RETRY_SOON_SECONDS)
        if not self._transactional:
            await self._redelivery.acknowledge([receipt for item in done for receipt in item.received.receipts])

    async def take_turns(self, items: Sequence[Decided], lease: SendLease, *, lease_seconds: float) -> list[Decided]:
        """Record that this processor creates these jobs, until the end of a lease; return those that it may create.

        The lease began before the jobs were loaded. The others were changed meanwhile, and come back.

        Raises:
            TemporaryError: it is not known whether this was recorded.
        """
        if not items:
            return []
        changes = {item.received.job_id: _turn_taken(item, lease_seconds=lease_seconds) for item in items}
        try:
            applied = await self._store.commit(list(changes.values()), receipts={})
        except PermanentError as error:
            if len(items) > 1:  # only the faulty one is redelivered
                return [
                    one for item in items for one in await self.take_turns([item], lease, lease_seconds=lease_seconds)
                ]
            await self._redelivery.failed(items[0].received, error)
            return []
        return await self._taken(items, changes, applied, lease)

    async def _taken(
        self, items: Sequence[Decided], changes: Mapping[UUID, ports.Change], applied: set[UUID], lease: SendLease
    ) -> list[Decided]:
        taken: list[Decided] = []
        for item in items:
            if item.received.job_id not in applied:
                continue
            job = changes[item.received.job_id].job
            earlier = item.loaded.job.create_until
            item.received.turn = Turn(lease=lease, create_until=job.create_until, earlier=earlier)
            taken.append(msgspec.structs.replace(item, loaded=msgspec.structs.replace(item.loaded, job=job)))
        overtaken = [item.received for item in items if item.received.job_id not in applied]
        if overtaken:
            metrics.commit_conflicts.inc(len(overtaken))
            await self._redelivery.give_back(overtaken, delay_seconds=RETRY_SOON_SECONDS)
        return taken

    async def _settle(self, overtaken: Sequence[Acted]) -> None:
        """Record what became of the creates of jobs that were changed meanwhile, and remove what nobody waits for."""
        left = {item.received.job_id: item for item in overtaken if item.made is not None or _knows_outcome(item)}
        try:
            for _ in range(_SETTLE_TRIES):
                if left:
                    left = await self._try_to_settle(left)
        except TemporaryError as error:
            # The row still says that a create may be on its way, and a watcher sees a stray.
            log.warning(
                "the outcome of creates was not recorded", action="job.create", error=str(error), jobs=len(left)
            )

    async def _try_to_settle(self, left: Mapping[UUID, Acted]) -> dict[UUID, Acted]:
        """Settle these jobs; return those whose rows were changed in the same moment."""
        snapshot = await self._store.load(list(left))
        changes = [
            made
            for job_id, loaded in snapshot.jobs.items()
            if (made := self._settled(left[job_id], loaded, now=snapshot.now)) is not None
        ]
        applied = await self._store.commit(changes, receipts={}) if changes else set()
        return {entry.job.id: left[entry.job.id] for entry in changes if entry.job.id not in applied}

    def _settled(self, item: Acted, loaded: ports.LoadedJob, *, now: datetime) -> ports.Change | None:
        job, made, turn = loaded.job, item.made, item.received.turn
        decision = None
        if made is not None:
            decision = creation.remove_stray(job, loaded.attempts, made.attempt, made.facts, now=now, rules=self._rules)
        if turn is not None and turn.settled and job.create_until == turn.create_until:
            decision = decision or Decision(job=job)
            decision = msgspec.structs.replace(decision, job=turn.row(decision.job))
        return None if decision is None else change(job, decision, decision.attempts)

    async def _give_back(self, items: Sequence[Acted], *, delay_seconds: float) -> None:
        await self._redelivery.give_back([item.received for item in items], delay_seconds=delay_seconds)


def _turn_taken(item: Decided, *, lease_seconds: float) -> ports.Change:
    job = item.loaded.job
    taken = create_lease.taken(job, now=item.now, lease_seconds=lease_seconds)
    return ports.Change(expected_version=job.version, job=taken)


def _knows_outcome(item: Acted) -> bool:
    turn = item.received.turn
    return turn is not None and turn.settled
