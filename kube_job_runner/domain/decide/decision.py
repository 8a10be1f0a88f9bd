"""A decision: the rows to write, the messages to send with them, at most one effect on the cluster; and how it is built."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

import msgspec

from kube_job_runner.domain import freshness, states
from kube_job_runner.domain.decide.parking import Trial
from kube_job_runner.domain.decide.ruleset import Rules
from kube_job_runner.domain.freshness import Freshness
from kube_job_runner.domain.job import Anomaly, Attempt, Job, Transition
from kube_job_runner.domain.messages import Message, Outgoing
from kube_job_runner.domain.states import State

_DARK_RECHECK_SECONDS = 5.0


class Create(msgspec.Struct, frozen=True):
    """Effect: create the cluster job of this attempt, if possible on other nodes, then call `creation.created`."""

    attempt: Attempt
    avoid_nodes: tuple[str, ...] = ()


class Find(msgspec.Struct, frozen=True):
    """Effect: ask the cluster whether it holds a cluster job for this attempt, then decide again knowing the answer."""

    attempt: Attempt


class Look(msgspec.Struct, frozen=True):
    """Effect: read the cluster job of this attempt and its pods, then call `looking.looked` with what was found.

    `due_at` is since when the look is asked for. `told_once`: nothing but the messages at hand says why, so they are kept until
    the cluster has answered.
    """

    attempt: Attempt
    due_at: datetime
    told_once: bool = False


Effect = Create | Find | Look


class Decision(msgspec.Struct, frozen=True, kw_only=True):
    """What to write and do. With an effect, only the effect is carried out: its outcome leads to a new decision.

    `trial` is what was seen of the room of the job's namespace.
    """

    job: Job
    attempts: tuple[Attempt, ...] = ()
    transitions: tuple[Transition, ...] = ()
    anomalies: tuple[Anomaly, ...] = ()
    messages: tuple[Outgoing, ...] = ()
    effect: Effect | None = None
    trial: Trial | None = None

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
            trial=following.trial or self.trial,
        )


class DecisionBuilder:
    """Collects the changes of one decision, and takes only legal steps. `job` and `attempts` are the rows as changed so far."""

    def __init__(
        self,
        *,
        job: Job,
        attempts: Mapping[int, Attempt],
        now: datetime,
        rules: Rules,
        looked: bool = False,
        watched: Freshness = freshness.ALWAYS,
    ) -> None:
        self.job = job
        self.attempts = dict(attempts)
        self.now = now
        self.rules = rules
        self.looked = looked
        self.watched = watched
        self.effect: Effect | None = None
        self.trial: Trial | None = None
        self._first = job
        self._changed: dict[int, Attempt] = {}
        self._transitions: list[Transition] = []
        self._anomalies: list[Anomaly] = []
        self._messages: list[Outgoing] = []
        self._look_again: datetime | None = None

    def current_attempt(self) -> Attempt:
        """Return the newest attempt of a job that has one."""
        return self.attempts[self.job.attempt]

    def put_attempt(self, attempt: Attempt) -> None:
        self.attempts[attempt.number] = attempt
        self._changed[attempt.number] = attempt

    def update_job(self, **columns: Any) -> None:
        """Change columns of the job's row other than its state."""
        self.job = msgspec.structs.replace(self.job, **columns)

    def move(
        self, to_state: State, *, attempt: int, reason: str, explanation: str = "", exit_code: int | None = None
    ) -> None:
        """Take one step to another state, with its transition.

        Raises:
            IllegalStep: the state machine does not have this step.
        """
        states.check_step(self.job.state, to_state)
        self._transitions.append(
            Transition(
                job_id=self.job.id,
                version=self._first.version + 1 + len(self._transitions),
                attempt=attempt,
                from_state=self.job.state,
                to_state=to_state,
                at=self.now,
                reason=reason,
                explanation=explanation,
                exit_code=exit_code,
            ),
        )
        self.job = msgspec.structs.replace(self.job, state=to_state)

    def look_again(self, at: datetime) -> None:
        """Look at the job again at that time at the latest."""
        if self._look_again is None or at < self._look_again:
            self._look_again = at

    def until(self, since: datetime, seconds: float) -> datetime:
        """Return when `seconds` of watched time will have passed since then: time in which nobody watched does not count.

        While nobody watches, it is some seconds ahead at least, so nothing is asked for again and again.
        """
        namespace, now = self.job.namespace, self.now
        at = since + timedelta(seconds=seconds + self.watched.dark_seconds(namespace, since, now))
        if at > now and self.watched.is_dark(namespace, now):
            at = max(at, now + timedelta(seconds=_DARK_RECHECK_SECONDS))
        return at

    def looks_first(self, attempt: Attempt, *, due_at: datetime | None = None) -> bool:
        """Ask for a look at the cluster before a decision that rests on absence or age; False when it was made.

        Then the decision is given up: the look leads to a new one. An effect that is asked for already goes first.
        """
        if self.looked or attempt.cluster_uid is None or isinstance(self.effect, Create | Find):
            return False
        if self.effect is None:
            self.effect = Look(attempt, due_at or self.now)
        return True

    def send(self, message: Message) -> None:
        """Send a message with the commit."""
        self._messages.append(Outgoing(message=message))

    def record_anomaly(self, *, attempt: int, kind: str, detail: str) -> None:
        """Record an anomaly; it changes nothing else."""
        self._anomalies.append(Anomaly(job_id=self.job.id, attempt=attempt, kind=kind, detail=detail, at=self.now))

    def build(self) -> Decision:
        """Return the decision. The version grows by the number of transitions, or by one for any other change."""
        self.update_job(next_check_at=self._look_again)
        touched = self.job != self._first or self._changed
        steps = max(len(self._transitions), 1 if touched else 0)
        return Decision(
            job=msgspec.structs.replace(self.job, version=self._first.version + steps),
            attempts=tuple(self._changed.values()),
            transitions=tuple(self._transitions),
            anomalies=tuple(self._anomalies),
            messages=tuple(self._messages),
            effect=self.effect,
            trial=self.trial,
        )
