"""The steps of a job through a batch: `Received`, `Decided`, `Acted`. Each holds all that the next one needs."""

from collections.abc import Mapping
from datetime import datetime
from uuid import UUID

import msgspec

from kube_job_runner import ports
from kube_job_runner.domain.decide.decision import Decision
from kube_job_runner.domain.decide.parking import Trial
from kube_job_runner.domain.freshness import Freshness
from kube_job_runner.domain.job import Attempt, Job
from kube_job_runner.domain.messages import Delete, Message, Outgoing
from kube_job_runner.domain.states import TERMINAL, State
from kube_job_runner.services.pipeline.effects import Made, Outcome
from kube_job_runner.services.pipeline.turns import Turn

_NO_JOB = UUID(int=0)  # of messages that are about any job

Entry = tuple[ports.Delivery, Message]


class Received(msgspec.Struct, kw_only=True):
    """The messages of one job in a batch. A job that was `admitted` with the batch has none.

    `turn` is the right to create its cluster job, if this processor has it. `settled` becomes true when the outcome is
    committed, or the job is left to other processors.
    """

    job_id: UUID
    entries: list[Entry] = []
    admitted: bool = False
    turn: Turn | None = None
    settled: bool = False

    @property
    def receipts(self) -> list[str]:
        return [delivery.receipt for delivery, _ in self.entries]


class Acted(msgspec.Struct, frozen=True, kw_only=True):
    """What is left to commit for one job. Without a change its messages are only acknowledged.

    `made` is the cluster job that exists because of it. `frees` says that the job gave up its slot, or found room in a parked
    namespace, so that others may be admitted. `ended` is the job with
    all its attempts when it reached a terminal state.
    """

    received: Received
    change: ports.Change | None = None
    made: Made | None = None
    frees: bool = False
    ended: tuple[Job, Mapping[int, Attempt]] | None = None


class Decided(msgspec.Struct, frozen=True, kw_only=True):
    """What was decided about one job, from its rows with the observations of the batch joined in (`observed`).

    `removals` are the deletes of strays that were observed.
    """

    received: Received
    loaded: ports.LoadedJob
    now: datetime
    attempts: Mapping[int, Attempt]
    observed: Mapping[int, Attempt]
    decision: Decision
    watched: Freshness = Freshness()
    removals: tuple[Outgoing, ...] = ()

    @property
    def frees(self) -> bool:
        """Whether the job was in flight and no longer is, so that another one may be admitted."""
        return _frees(self.loaded.job, self.decision.job)

    @property
    def waits(self) -> bool:
        """Whether the job is due and waits to be admitted."""
        job = self.decision.job
        return job.state is State.QUEUED and job.admitted_at is None and job.due_at <= self.now

    def acted(self, outcome: Outcome | None = None) -> Acted:
        """Return what to commit: of the decision after its effect, or of a decision without one."""
        before, decision = self.loaded.job, self.decision if outcome is None else _due_again(outcome.decision, self.now)
        if self.removals:
            decision = msgspec.structs.replace(decision, messages=decision.messages + self.removals)
        attempts = {attempt.number: attempt for attempt in decision.attempts}
        written = {**self.observed, **attempts}
        news = decision.job != before or written or decision.anomalies or decision.messages
        ends = any(step.to_state in TERMINAL for step in decision.transitions)
        trial = self._trial(outcome) or decision.trial
        return Acted(
            received=self.received,
            change=change(before, decision, tuple(written.values()), trial=trial) if news else None,
            made=outcome.made if outcome is not None else None,
            frees=_frees(before, decision.job)
            or (self.loaded.probe and outcome is not None and outcome.made is not None),
            ended=(decision.job, {**self.attempts, **attempts}) if ends else None,
        )

    def _trial(self, outcome: Outcome | None) -> Trial | None:
        """Return what a create said about its namespace: that it is full, or what became of a probe."""
        if outcome is not None and outcome.refused is not None:
            return msgspec.structs.replace(outcome.refused, probe=self.loaded.probe)
        if not self.loaded.probe:
            return None
        created = outcome is not None and outcome.made is not None
        namespace = self.loaded.job.namespace
        return Trial(namespace=namespace, outcome="created" if created else "unknown", probe=True)


def _due_again(decision: Decision, now: datetime) -> Decision:
    """Return a decision whose job is due now if it asks for a further effect: one message has one effect."""
    if decision.effect is None:
        return decision
    return msgspec.structs.replace(decision, job=msgspec.structs.replace(decision.job, next_check_at=now))


def _frees(before: Job, after: Job) -> bool:
    return before.in_flight and not after.in_flight


def change(
    before: Job, decision: Decision, attempts: tuple[Attempt, ...], *, trial: Trial | None = None
) -> ports.Change:
    """Return the rows to write for a decision. The version grows even when only an attempt changed."""
    job = decision.job
    if job.version == before.version:
        job = msgspec.structs.replace(job, version=before.version + 1)
    return ports.Change(
        expected_version=before.version,
        job=job,
        attempts=attempts,
        transitions=decision.transitions,
        anomalies=decision.anomalies,
        messages=decision.messages,
        trial=trial,
    )


class Batch(msgspec.Struct, kw_only=True):
    """Messages that were received at once: by job, the deletes, and those of type `Submitted`.

    `admitted` are the jobs that were admitted while the batch was worked on. `unfinished`: a receiver of these messages may
    have been killed by one of them; `alone`: no other batch of this process is worked on meanwhile; `more`: messages that
    were received with them were given back.
    """

    deliveries: list[ports.Delivery]
    unfinished: bool = False
    alone: bool = False
    more: bool = False
    received: dict[UUID, Received] = {}
    deletes: list[tuple[ports.Delivery, Delete]] = []
    submitted: Received = msgspec.field(default_factory=lambda: Received(job_id=_NO_JOB))
    admitted: list[Received] = []

    @property
    def unsettled(self) -> list[UUID]:
        """The jobs that were admitted here, and of which nothing is committed or left to others yet."""
        return [admitted.job_id for admitted in self.admitted if not admitted.settled]
