"""Small matters of the pipeline: from a decision to a change of rows, and what the metrics count of it."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

import msgspec

from kube_job_runner import ports
from kube_job_runner.domain import messages
from kube_job_runner.domain.decide import obstacles
from kube_job_runner.domain.decide.decision import Decision
from kube_job_runner.domain.facts import PodFacts
from kube_job_runner.domain.failures import Table
from kube_job_runner.domain.job import Attempt, Job, Transition
from kube_job_runner.domain.messages import Message
from kube_job_runner.domain.states import TERMINAL, State
from kube_job_runner.telemetry import loggers, metrics

log = loggers.get_logger(__name__)


def change(before: Job, decision: Decision, attempts: tuple[Attempt, ...]) -> ports.Change:
    """Return the rows to write for a decision; the version grows even when only an attempt changed."""
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
    )


def count_changes(changes: Iterable[ports.Change]) -> None:
    """Count what ended, and how long the phases of jobs took."""
    for entry in changes:
        job = entry.job
        for transition in entry.transitions:
            if transition.to_state is State.RUNNING:
                _phase("queue", job, max(job.created_at, job.due_at), job.admitted_at)
                _phase("start", job, job.admitted_at, job.started_at)
            elif transition.to_state in TERMINAL:
                _count_end(job, transition)


def _count_end(job: Job, transition: Transition) -> None:
    queue, cause = metrics.queue_label(job.queue), metrics.cause_label(transition.reason or "none")
    metrics.jobs_finished.labels(queue, transition.to_state.value, cause).inc()
    _phase("run", job, job.started_at, job.finished_at)
    _phase("total", job, job.created_at, job.finished_at)
    log.info(
        "job ended",
        action="job.end",
        job_id=str(job.id),
        attempt=transition.attempt,
        state=transition.to_state.value,
        reason=transition.reason,
        exit_code=transition.exit_code,
    )


def _phase(phase: str, job: Job, since: datetime | None, until: datetime | None) -> None:
    if since is not None and until is not None:
        seconds = max(0.0, (until - since).total_seconds())
        metrics.job_phase_seconds.labels(phase, metrics.queue_label(job.queue)).observe(seconds)


def count_unknown(pod: PodFacts, table: Table) -> None:
    """Count a waiting reason that the failure rules do not know: it is never fatal, and somebody should add a rule."""
    reason = obstacles.unknown_signal(pod, table)
    if reason:
        metrics.unknown_signals.labels(metrics.signal_label(reason)).inc()


def count_messages(handled: Iterable[Message]) -> None:
    """Count messages that were handled to their end."""
    for message in handled:
        metrics.messages_handled.labels(messages.type_name(message), "done").inc()
