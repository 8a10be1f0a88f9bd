"""The deadlines of a job: until when it may wait in its queue, start and run."""

from __future__ import annotations

from datetime import datetime, timedelta

from kube_job_runner.domain.job import Job
from kube_job_runner.domain.spec.model import Timeouts


def queue_deadline(job: Job) -> datetime:
    """Return until when a queued job may wait for its next attempt."""
    return queue_deadline_of(max(job.created_at, job.due_at), job.policy.timeouts)


def queue_deadline_of(due_at: datetime, timeouts: Timeouts) -> datetime:
    """Return until when a job that is due then may wait to be created."""
    return due_at + timedelta(seconds=timeouts.queue_seconds)


def start_deadline(job: Job, created_at: datetime) -> datetime:
    """Return until when an attempt that was created then must have started."""
    return created_at + timedelta(seconds=job.policy.timeouts.start_seconds)


def run_deadline(job: Job, started_at: datetime) -> datetime:
    """Return until when an attempt that started then must have ended."""
    return started_at + timedelta(seconds=job.policy.timeouts.run_seconds)
