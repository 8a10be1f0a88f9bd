"""The clocks of an attempt that waits: for room in the cluster, or because its cluster job is suspended.

Such a wait is queueing. It counts to the queue timeout, and neither to the start timeout nor to the run timeout.
A job's `waiting_since` is when the wait began that lasts now. `Marks.waited_seconds` is the sum of the waits before it.
"""

from datetime import datetime, timedelta

import msgspec

from kube_job_runner.domain.decide.decision import DecisionBuilder
from kube_job_runner.domain.job import Attempt, Job


def begin(builder: DecisionBuilder, *, since: datetime | None = None) -> None:
    """Record that the attempt waits, unless it is recorded already. It did not wait before it was created, or before `since`."""
    if builder.job.waiting_since is None:
        earliest = builder.current_attempt().created_at or builder.now
        builder.update_job(waiting_since=min(max(since or builder.now, earliest), builder.now))


def end(builder: DecisionBuilder, attempt: Attempt) -> Attempt:
    """Record that the attempt waits no longer; return it with the time that it waited."""
    since = builder.job.waiting_since
    if since is None:
        return attempt
    builder.update_job(waiting_since=None)
    waited_seconds = (builder.now - max(since, _counted_from(attempt, since))).total_seconds()
    if attempt.started_at is None or waited_seconds > 0:
        marks = msgspec.structs.replace(
            attempt.marks, waited_seconds=attempt.marks.waited_seconds + max(0.0, waited_seconds)
        )
        attempt = msgspec.structs.replace(attempt, marks=marks)
        builder.put_attempt(attempt)
    return attempt


def start_clock(job: Job, attempt: Attempt, now: datetime) -> tuple[datetime, float]:
    """Return since when, and for how many seconds, the attempt may start: from its create, or from the last resume.

    The time that it waited is added.
    """
    return _counted_from(attempt, now), job.policy.timeouts.start_seconds + attempt.marks.waited_seconds


def start_deadline(job: Job, attempt: Attempt, now: datetime) -> datetime:
    """Return until when the attempt must have started if somebody watches all the time."""
    since, seconds = start_clock(job, attempt, now)
    return since + timedelta(seconds=seconds)


def deadline(job: Job, attempt: Attempt) -> datetime:
    """Return until when a job may wait that waits now: its queue deadline.

    An attempt that ran before it was suspended is in the queue again from that moment.
    """
    if attempt.started_at is not None and job.waiting_since is not None:
        return job.waiting_since + timedelta(seconds=job.policy.timeouts.queue_seconds)
    return job.queue_deadline


def starts_again(attempt: Attempt) -> bool:
    """Return whether an attempt that ran is suspended, or was resumed and does not run again yet."""
    job_facts = attempt.facts.job
    if attempt.started_at is None or job_facts is None:
        return False
    resumed_at = job_facts.resumed_at
    return attempt.facts.suspended or (resumed_at is not None and attempt.started_at < resumed_at)


def _counted_from(attempt: Attempt, now: datetime) -> datetime:
    created_at = attempt.created_at or now
    job_facts = attempt.facts.job
    resumed_at = job_facts.resumed_at if job_facts is not None else None
    return created_at if resumed_at is None else max(created_at, resumed_at)
