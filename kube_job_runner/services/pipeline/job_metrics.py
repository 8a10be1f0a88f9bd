"""Metrics of the pipeline, and the log line of each job that ends."""

from collections.abc import Awaitable, Iterable
from datetime import datetime
from typing import TypeVar

from kube_job_runner import ports
from kube_job_runner.domain import messages
from kube_job_runner.domain.job import Job, Transition
from kube_job_runner.domain.messages import Message
from kube_job_runner.domain.states import TERMINAL, State
from kube_job_runner.telemetry import loggers, metrics

log = loggers.get_logger(__name__)

_T = TypeVar("_T")


def count_changes(changes: Iterable[ports.Change]) -> None:
    """Count the jobs that ended, and measure how long the phases of jobs took."""
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


def count_messages(handled: Iterable[Message]) -> None:
    """Count messages that need no more work."""
    for message in handled:
        metrics.messages_handled.labels(messages.type_name(message), "done").inc()


async def counted(verb: str, call: Awaitable[_T]) -> _T:
    """Return the result of a request to the cluster; count it and measure its time."""
    try:
        with metrics.cluster_in_flight.track_inprogress(), metrics.cluster_seconds.labels(verb).time():
            result = await call
    except Exception as error:
        metrics.cluster_requests.labels(verb, type(error).__name__).inc()
        raise
    metrics.cluster_requests.labels(verb, "ok").inc()
    return result
