"""The working sheets of the pipeline: one batch of messages, and what is known and decided about each of its jobs."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

import msgspec

from kube_job_runner import ports
from kube_job_runner.domain.decide.decision import Decision
from kube_job_runner.domain.job import Attempt, Job
from kube_job_runner.domain.messages import Delete, Message
from kube_job_runner.domain.states import TERMINAL, State
from kube_job_runner.services.pipeline import job_metrics
from kube_job_runner.services.pipeline.effects import Outcome

NO_JOB = UUID(int=0)


class Work(msgspec.Struct, kw_only=True):
    """All messages of one job in a batch, and what is decided about it. A job admitted by us has no message but a deadline.

    `act_until` is on the monotonic clock: what begins later could come after another processor took the job over.
    """

    job_id: UUID
    entries: list[tuple[ports.Delivery, Message]] = []
    loaded: ports.LoadedJob | None = None
    unreadable: str = ""
    now: datetime | None = None
    attempts: dict[int, Attempt] = {}
    observed: dict[int, Attempt] = {}
    decision: Decision | None = None
    outcome: Outcome | None = None
    act_until: float | None = None
    settled: bool = False

    @property
    def receipts(self) -> list[str]:
        """The receipts of the messages that this work answers."""
        return [delivery.receipt for delivery, _ in self.entries]

    @property
    def frees(self) -> bool:
        """Whether the job was in flight and is no more: another may be admitted in its place."""
        return bool(self.loaded and self.decision and self.loaded.job.in_flight and not self.decision.job.in_flight)

    @property
    def waits(self) -> bool:
        """Whether the job is due and waits to be admitted."""
        if self.decision is None or self.now is None:
            return False
        job = self.decision.job
        return job.state is State.QUEUED and job.admitted_at is None and job.due_at <= self.now

    def change(self) -> ports.Change | None:
        """Return what to write for the job, or None when its messages told nothing new."""
        decision, loaded = self.decision, self.loaded
        if decision is None or loaded is None:
            return None
        attempts = dict(self.observed)
        attempts.update({attempt.number: attempt for attempt in decision.attempts})
        if decision.job == loaded.job and not attempts and not decision.anomalies and not decision.messages:
            return None
        return job_metrics.change(loaded.job, decision, tuple(attempts.values()))

    def ended(self) -> tuple[Job, dict[int, Attempt]] | None:
        """Return the job with all its attempts when this work ended it, else None."""
        if self.decision is None or not any(step.to_state in TERMINAL for step in self.decision.transitions):
            return None
        return self.decision.job, {**self.attempts, **{attempt.number: attempt for attempt in self.decision.attempts}}


class Batch(msgspec.Struct, kw_only=True):
    """What was received at once: work by job, deletes, the `Submitted` messages; and the jobs admitted while it was worked on."""

    deliveries: list[ports.Delivery]
    work: dict[UUID, Work] = {}
    deletes: list[tuple[ports.Delivery, Delete]] = []
    submitted: Work = msgspec.field(default_factory=lambda: Work(job_id=NO_JOB))
    admitted: list[Work] = []

    @property
    def unsettled(self) -> list[UUID]:
        """The jobs that were admitted here, and of which nothing is committed or handed on yet."""
        return [item.job_id for item in self.admitted if not item.settled]
