"""The sentence about a job that a person reads first: its state, the cause, the place and what to do."""

from collections.abc import Mapping, Sequence
from datetime import datetime

from kube_job_runner.domain.decide import waiting
from kube_job_runner.domain.failures import ends
from kube_job_runner.domain.job import Attempt, Job
from kube_job_runner.domain.record.timeline import Phase
from kube_job_runner.domain.states import State


def sentence(job: Job, attempts: Mapping[int, Attempt], phases: Sequence[Phase]) -> str:
    """Return the sentence about a job, given its attempts and its timeline."""
    attempt = attempts.get(job.attempt)
    if job.state is State.QUEUED:
        return _queued(job, phases)
    if job.state is State.STARTING:
        return _starting(attempt, phases)
    if job.state is State.RUNNING:
        return _running(job, attempt, phases)
    if job.state is State.STOPPING:
        return _joined(
            f"Stopping{_place(attempt)}:",
            job.explanation,
            "The end is recorded when nothing of it is left in the cluster.",
        )
    if job.state is State.SUCCEEDED:
        return _succeeded(job, attempt)
    if job.state is State.CANCELLED:
        return _joined(job.explanation or "Cancelled.", "Nothing of it is left in the cluster.")
    return _failed(job, attempt)


def moment(at: datetime) -> str:
    """Return a time in the form that sentences use."""
    return f"{at:%Y-%m-%d %H:%M:%S} UTC"


def _queued(job: Job, phases: Sequence[Phase]) -> str:
    if job.cancel is not None:
        return (
            f"Waiting in queue {job.queue}, with a cancel asked for{job.cancel.by_whom}: it ends without being started."
        )
    phase = phases[-1]
    head = f"Waiting in queue {job.queue}" + (f" for attempt {phase.attempt}" if phase.attempt > 1 else "")
    until = f"It fails unless it is created by {moment(phase.deadline)}." if phase.deadline else ""
    return _joined(f"{head}:", phase.reason or "it is about to be created", until)


def _starting(attempt: Attempt | None, phases: Sequence[Phase]) -> str:
    phase = phases[-1]
    until = f"It fails unless it starts by {moment(phase.deadline)}." if phase.deadline else ""
    return _joined(f"Not started yet{_place(attempt)} ({phase.name}):", phase.reason or "it is about to start", until)


def _running(job: Job, attempt: Attempt | None, phases: Sequence[Phase]) -> str:
    phase = phases[-1]
    if attempt is not None and waiting.starts_again(attempt) and job.cancel is None:
        until = f"It fails unless it starts again by {moment(phase.deadline)}." if phase.deadline else ""
        return _joined("Does not run now:", phase.reason, until)
    if phase.name == "finishing":
        return f"The program has ended{_place(attempt)}; its outcome is about to be recorded."
    since = moment(phase.started_at)
    until = f"It is stopped if it has not ended by {moment(phase.deadline)}." if phase.deadline else ""
    cancelled = (
        f"A cancel was asked for{job.cancel.by_whom} and is being carried out." if job.cancel is not None else ""
    )
    return _joined(f"Running since {since}{_place(attempt)}.", cancelled or until)


def _succeeded(job: Job, attempt: Attempt | None) -> str:
    took = ""
    if attempt is not None and attempt.started_at is not None and attempt.finished_at is not None:
        took = f" after {(attempt.finished_at - attempt.started_at).total_seconds():.1f} s"
    return _joined(f"Succeeded{_place(attempt)}{took}.", job.explanation)


def _failed(job: Job, attempt: Attempt | None) -> str:
    place = ""
    if attempt is not None:
        seen = attempt.node and attempt.node in job.explanation
        place = _place(attempt, node=not seen)
    end = ends.BY_REASON.get(job.reason)
    remedy = end.remedy if end is not None else ""  # the rows of the failure table say it in their explanation
    if attempt is not None and attempt.logs == "lost" and end in (ends.APPLICATION_EXIT, None):
        remedy = f"Its log is lost: {attempt.logs_lost}"
    return _joined(f"Failed{place}:", job.explanation or job.reason, remedy)


def _place(attempt: Attempt | None, *, node: bool = True) -> str:
    if attempt is None:
        return ""
    number = f" in attempt {attempt.number}" if attempt.number > 1 else ""
    return number + (f" on node {attempt.node}" if attempt.node and node else "")


def _joined(*sentences: str) -> str:
    """Join sentences. Each gets a full stop, unless it ends with a stop or a colon already."""
    given = [text.strip() for text in sentences if text.strip()]
    return " ".join(text if text[-1] in ".!?:" else f"{text}." for text in given)
