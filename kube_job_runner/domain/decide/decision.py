"""A decision: the rows to write, the messages to send with them, and at most one effect on the cluster."""

from __future__ import annotations

import msgspec

from kube_job_runner.domain.job import Anomaly, Attempt, Job, Transition
from kube_job_runner.domain.messages import Outgoing


class Create(msgspec.Struct, frozen=True):
    """Effect: create the cluster job of this attempt, if possible on other nodes, then call `creation.created`."""

    attempt: Attempt
    avoid_nodes: tuple[str, ...] = ()


class Find(msgspec.Struct, frozen=True):
    """Effect: ask the cluster whether it holds a cluster job for this attempt, then decide again knowing the answer."""

    attempt: Attempt


Effect = Create | Find


class Decision(msgspec.Struct, frozen=True, kw_only=True):
    """What to write and do. With an effect, only the effect is carried out: its outcome leads to a new decision."""

    job: Job
    attempts: tuple[Attempt, ...] = ()
    transitions: tuple[Transition, ...] = ()
    anomalies: tuple[Anomaly, ...] = ()
    messages: tuple[Outgoing, ...] = ()
    effect: Effect | None = None

    def then(self, following: Decision) -> Decision:
        """Return this decision and the one that was made from its rows, as one decision."""
        attempts = {attempt.number: attempt for attempt in (*self.attempts, *following.attempts)}
        return Decision(
            job=following.job,
            attempts=tuple(attempts.values()),
            transitions=self.transitions + following.transitions,
            anomalies=self.anomalies + following.anomalies,
            messages=self.messages + following.messages,
            effect=following.effect,
        )
