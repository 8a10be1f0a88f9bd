"""Commits what a batch decided: rows, history, messages and acknowledgements in one transaction."""

from collections.abc import Sequence

from kube_job_runner import ports
from kube_job_runner.domain.decide import creation
from kube_job_runner.domain.decide.ruleset import Rules
from kube_job_runner.domain.errors import PermanentError, TemporaryError
from kube_job_runner.domain.record import trace
from kube_job_runner.services.pipeline import job_metrics
from kube_job_runner.services.pipeline.batch import Acted, change
from kube_job_runner.services.pipeline.redelivery import RETRY_SOON_SECONDS, Redelivery
from kube_job_runner.telemetry import loggers, metrics

log = loggers.get_logger(__name__)


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
            await self._remove_strays(overtaken)
            await self._give_back(overtaken, delay_seconds=RETRY_SOON_SECONDS)
        if not self._transactional:
            await self._redelivery.acknowledge([receipt for item in done for receipt in item.received.receipts])

    async def _remove_strays(self, overtaken: Sequence[Acted]) -> None:
        """Remove cluster jobs that were created for jobs that another processor ended meanwhile."""
        made = {item.received.job_id: item.made for item in overtaken if item.made is not None}
        if not made:
            return
        snapshot = await self._store.load(list(made))
        changes = []
        for job_id, loaded in snapshot.jobs.items():
            attempt, facts = made[job_id].attempt, made[job_id].facts
            decision = creation.remove_stray(
                loaded.job, loaded.attempts, attempt, facts, now=snapshot.now, rules=self._rules
            )
            if decision is not None:
                changes.append(change(loaded.job, decision, decision.attempts))
        await self._store.commit(changes, receipts={})

    async def _give_back(self, items: Sequence[Acted], *, delay_seconds: float) -> None:
        await self._redelivery.give_back([item.received for item in items], delay_seconds=delay_seconds)
