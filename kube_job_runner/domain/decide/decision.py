"""The working sheet of one decision: the rows as they will be, and what goes with them into one commit."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, Protocol

import msgspec

from kube_job_runner.domain import failures
from kube_job_runner.domain.job import Anomaly, Attempt, Job, Transition
from kube_job_runner.domain.messages import Message, Outgoing
from kube_job_runner.domain.states import State


class Rules(msgspec.Struct, frozen=True, kw_only=True):
    """The installation's numbers that decisions use, all in seconds."""

    graces: Mapping[str, float] = msgspec.field(default_factory=lambda: dict(failures.GRACES_SECONDS))
    table: failures.Table = failures.TABLE
    evidence_grace_seconds: float = 30.0
    success_evidence_seconds: float = 5.0
    cleanup_delay_seconds: float = 300.0
    recheck_seconds: float = 60.0
    log_deadline_seconds: float = 600.0
    log_stop_bound_seconds: float = 5.0
    log_recheck_seconds: float = 5.0
    pod_gone_bound_seconds: float = 120.0
    pod_unseen_bound_seconds: float = 5.0
    finishing_bound_seconds: float = 60.0
    create_settle_seconds: float = 2.0
    create_retry_max_seconds: float = 60.0
    create_retry_outage_seconds: float = 10.0
    force_after_seconds: float = 120.0

    def grace_seconds(self, rule: failures.Rule) -> float:
        """Return how long the signal of a rule may last: before it is fatal, or before a free attempt (`retry_free`)."""
        return failures.grace_seconds(rule, self.graces)


class Create(msgspec.Struct, frozen=True):
    """Effect: create the cluster job of this attempt, if possible on other nodes, then call `lifecycle.created`."""

    attempt: Attempt
    avoid_nodes: tuple[str, ...] = ()


class Find(msgspec.Struct, frozen=True):
    """Effect: ask the cluster whether it holds a cluster job for this attempt, then decide again knowing the answer."""

    attempt: Attempt


Effect = Create | Find


class Decision(msgspec.Struct, frozen=True, kw_only=True):
    """What to write and do. With an effect, only the effect counts: nothing is written before its outcome is known."""

    job: Job
    attempts: tuple[Attempt, ...] = ()
    transitions: tuple[Transition, ...] = ()
    anomalies: tuple[Anomaly, ...] = ()
    messages: tuple[Outgoing, ...] = ()
    effect: Effect | None = None


class _Decide(Protocol):
    def __call__(self, job: Job, attempts: Mapping[int, Attempt], *, now: datetime, rules: Rules) -> Decision: ...


class Draft:
    """Collects the changes of one decision. `job` and `attempts` show the rows with the changes so far."""

    def __init__(self, *, job: Job, attempts: Mapping[int, Attempt], now: datetime, rules: Rules) -> None:
        self.job = job
        self.attempts = dict(attempts)
        self.now = now
        self.rules = rules
        self.effect: Effect | None = None
        self._first = job
        self._changed: dict[int, Attempt] = {}
        self._transitions: list[Transition] = []
        self._anomalies: list[Anomaly] = []
        self._messages: list[Outgoing] = []
        self._look_again: datetime | None = None

    def current(self) -> Attempt:
        """Return the newest attempt of a job that has one."""
        return self.attempts[self.job.attempt]

    def put(self, attempt: Attempt) -> None:
        """Take the new row of an attempt."""
        self.attempts[attempt.number] = attempt
        self._changed[attempt.number] = attempt

    def update(self, **columns: Any) -> None:
        """Change columns of the job's row other than its state."""
        self.job = msgspec.structs.replace(self.job, **columns)

    def move(
        self, to_state: State, *, attempt: int, reason: str, explanation: str = "", exit_code: int | None = None
    ) -> None:
        """Change the state of the job, with its transition."""
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
        """Ask for another look at that time at the latest."""
        if self._look_again is None or at < self._look_again:
            self._look_again = at

    def send(self, message: Message) -> None:
        """Send a message with the commit."""
        self._messages.append(Outgoing(message=message))

    def note(self, *, attempt: int, kind: str, detail: str) -> None:
        """Record evidence that contradicts a terminal state."""
        self._anomalies.append(Anomaly(job_id=self.job.id, attempt=attempt, kind=kind, detail=detail, at=self.now))

    def decision(self) -> Decision:
        """Return the decision; the version grows by the number of transitions, and by one for any other change."""
        self.update(next_check_at=self._look_again)
        touched = self.job != self._first or self._changed
        steps = max(len(self._transitions), 1 if touched else 0)
        return Decision(
            job=msgspec.structs.replace(self.job, version=self._first.version + steps),
            attempts=tuple(self._changed.values()),
            transitions=tuple(self._transitions),
            anomalies=tuple(self._anomalies),
            messages=tuple(self._messages),
            effect=self.effect,
        )

    def chain(self, decide: _Decide | Callable[..., Decision]) -> Decision:
        """Return this decision followed by what `decide` says of the rows as they now are, as one decision."""
        mine = self.decision()
        then = decide(mine.job, self.attempts, now=self.now, rules=self.rules)
        merged = dict(self._changed)
        merged.update({attempt.number: attempt for attempt in then.attempts})
        return Decision(
            job=then.job,
            attempts=tuple(merged.values()),
            transitions=mine.transitions + then.transitions,
            anomalies=mine.anomalies + then.anomalies,
            messages=mine.messages + then.messages,
            effect=then.effect,
        )
