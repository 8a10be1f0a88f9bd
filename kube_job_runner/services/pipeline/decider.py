"""Decides about one job of a batch: joins the observations into its attempts, then asks the lifecycle."""

import msgspec

from kube_job_runner import ports
from kube_job_runner.domain import sight
from kube_job_runner.domain.decide import creation, lifecycle, observation, obstacles, strays
from kube_job_runner.domain.decide.decision import Decision, Look
from kube_job_runner.domain.decide.ruleset import Rules
from kube_job_runner.domain.facts import PodFacts, Seen
from kube_job_runner.domain.job import Attempt
from kube_job_runner.domain.messages import Delete, Observed, Outgoing
from kube_job_runner.services.pipeline.batch import Acted, Decided, Entry, Received
from kube_job_runner.services.pipeline.redelivery import Redelivery
from kube_job_runner.telemetry import loggers, metrics

log = loggers.get_logger(__name__)


class _Joined(msgspec.Struct, kw_only=True):
    """All attempts with the observations merged in, the changed ones, and observations that came before their attempt's row."""

    attempts: dict[int, Attempt]
    changed: dict[int, Attempt] = {}
    stepped_back: Attempt | None = None
    """The newest attempt, when a list shows one of its objects with a lower version than is known."""
    early: list[Entry] = []
    removals: list[Outgoing] = []


class Decider:
    """Decides about jobs, one at a time. An error in one of them does not stop the others."""

    def __init__(self, *, rules: Rules, redelivery: Redelivery) -> None:
        self._rules = rules
        self._redelivery = redelivery

    async def decide(self, received: Received, snapshot: ports.Snapshot) -> Decided | Acted | None:
        """Decide about a job; None when it failed, or when all its messages come back later.

        The messages of an unknown job are dropped: it was removed by retention, or was never ours.
        """
        try:
            if received.job_id in snapshot.unreadable:
                raise RuntimeError(snapshot.unreadable[received.job_id])
            if received.job_id not in snapshot.jobs:
                return _unknown(received)
            return await self._decide(received, snapshot)
        except Exception as error:  # noqa: BLE001 - a bug in one job's decision must not stop the others
            await self._redelivery.failed(received, error)
            return None

    async def _decide(self, received: Received, snapshot: ports.Snapshot) -> Decided | None:
        loaded, now = snapshot.jobs[received.job_id], snapshot.now
        joined = self._join(received, snapshot)
        for entry in joined.early:
            await self._redelivery.came_early(received, entry)
        # A job that waits to be cancelled and was created after all: ask the cluster now, the observation comes again.
        arrived = bool(joined.early) and loaded.job.cancel is not None
        if not received.entries and not received.admitted and not arrived:
            return None
        decision = lifecycle.decide(
            loaded.job,
            joined.attempts,
            now=now,
            rules=self._rules,
            parked=loaded.parked,
            watched=snapshot.watched,
        )
        if joined.stepped_back is not None and decision.effect is None and not loaded.job.terminal:
            log.warning(
                "a list shows an older version of an object than is known; looking",
                action="job.stepped_back",
                job_id=str(loaded.job.id),
                attempt=loaded.job.attempt,
            )
            decision = Decision(job=loaded.job, effect=Look(joined.attempts[loaded.job.attempt], now, told_once=True))
        return Decided(
            received=received,
            loaded=loaded,
            now=now,
            attempts=joined.attempts,
            observed=joined.changed,
            removals=tuple(joined.removals),
            decision=decision,
            watched=snapshot.watched,
        )

    def _join(self, received: Received, snapshot: ports.Snapshot) -> _Joined:
        loaded = snapshot.jobs[received.job_id]
        joined = _Joined(attempts=dict(loaded.attempts))
        for entry in received.entries:
            _, message = entry
            if not isinstance(message, Observed):
                continue
            known = joined.attempts.get(message.attempt) or creation.stray(loaded.job, message, now=snapshot.now)
            if known is None:
                joined.early.append(entry)
                continue
            self._count_unknown(message.seen)
            if message.listed and message.attempt == loaded.job.attempt and sight.steps_back(known.facts, message.seen):
                joined.stepped_back = known
            removal = strays.seen(loaded.job, known, message.seen)
            if removal is not None:
                _log_stray(removal)
                joined.removals.append(Outgoing(message=removal))
            attempt = observation.observe(known, message.seen)
            if attempt is not joined.attempts.get(message.attempt):
                joined.attempts[message.attempt] = joined.changed[message.attempt] = attempt
        return joined

    def _count_unknown(self, seen: Seen) -> None:
        """Count a waiting reason that the failure rules do not know: it is never fatal, and somebody should add a rule."""
        reason = obstacles.unknown_signal(seen, self._rules.table) if isinstance(seen, PodFacts) else ""
        if reason:
            metrics.unknown_signals.labels(metrics.signal_label(reason)).inc()


def _log_stray(removal: Delete) -> None:
    log.warning(
        "a second cluster job of an attempt is removed",
        action="job.stray",
        job_id=str(removal.job_id),
        attempt=removal.attempt,
        cluster_uid=removal.cluster_uid,
    )


def _unknown(received: Received) -> Acted:
    log.warning("a message names an unknown job", action="message.unknown_job", job_id=str(received.job_id))
    metrics.unknown_objects.inc(len(received.entries))
    return Acted(received=received)
