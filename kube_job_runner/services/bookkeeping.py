"""Small matters of the pipeline: from a decision to a change of rows, and what the metrics count of it."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from kube_job_runner import ports, telemetry
from kube_job_runner.domain import diagnosis
from kube_job_runner.domain.draft import Decision
from kube_job_runner.domain.facts import PodFacts
from kube_job_runner.domain.failures import Table
from kube_job_runner.domain.job import TERMINAL, Attempt, Job, State
from kube_job_runner.domain.messages import Message


def type_name(message: Message) -> str:
    """Return the tag of a message, as it stands on the wire."""
    return str(message.__struct_config__.tag)


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
            if transition.to_state is State.RUNNING and job.started_at is not None:
                _phase("start", (job.started_at - job.created_at).total_seconds())
            elif transition.to_state in TERMINAL and job.finished_at is not None:
                telemetry.jobs_finished.labels(transition.to_state.value, transition.reason).inc()
                _phase("total", (job.finished_at - job.created_at).total_seconds())


def _phase(phase: str, seconds: float) -> None:
    telemetry.job_phase_seconds.labels(phase).observe(max(0.0, seconds))


def count_unknown(pod: PodFacts, table: Table) -> None:
    """Count a waiting reason that the failure rules do not know: it is never fatal, and somebody should add a rule."""
    reason = diagnosis.unknown_signal(pod, table)
    if reason:
        telemetry.unknown_signals.labels(reason[:63]).inc()


def count_messages(handled: Iterable[Message]) -> None:
    """Count messages that were handled to their end."""
    for message in handled:
        telemetry.messages_handled.labels(type_name(message), "done").inc()
