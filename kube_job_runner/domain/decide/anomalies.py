"""Anomalies: evidence that contradicts a terminal state. It is recorded, and changes nothing."""

from __future__ import annotations

from kube_job_runner.domain.decide import diagnosis
from kube_job_runner.domain.decide.builder import DecisionBuilder
from kube_job_runner.domain.states import State


def record(builder: DecisionBuilder) -> None:
    """Record what contradicts the terminal state of a job. The state itself stays."""
    job = builder.job
    attempt = builder.attempts.get(job.attempt)
    if attempt is None or attempt.verdict is None:
        return
    job_facts = attempt.facts.job
    completed = job_facts is not None and not job_facts.deleting and job_facts.condition("Complete") is not None
    if completed and job.state is not State.SUCCEEDED:
        builder.record_anomaly(
            attempt=attempt.number, kind="CompletedAfterEnd", detail=f"the job had ended as {job.state}: {job.reason}"
        )
    if attempt.started_at is None and job.state is State.FAILED and diagnosis.has_started(attempt.facts):
        builder.record_anomaly(
            attempt=attempt.number, kind="StartedAfterEnd", detail=f"the job had ended as {job.state}: {job.reason}"
        )
