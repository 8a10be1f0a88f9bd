"""Ports for reading jobs: the endpoints of the API, explanations, and long polls."""

from collections.abc import Collection
from datetime import datetime
from typing import Protocol
from uuid import UUID

import msgspec

from kube_job_runner.domain.decide.admission import QueueStanding
from kube_job_runner.domain.job import Anomaly, Attempt, Job, Transition
from kube_job_runner.domain.limits import AdmissionLimits
from kube_job_runner.domain.states import State


class JobFilter(msgspec.Struct, frozen=True, kw_only=True):
    """Which jobs a list shows; a field that is not set excludes nothing.

    `labels` holds (key, operator, values). Operators are `in`, `notin`, `exists` and `!exists`, as in Kubernetes.
    `reason` without `states` means jobs that failed for that reason. With `states`, it means jobs in one of them that have
    that reason. `before_id` is the id of the last job of the page before.
    """

    states: tuple[State, ...] = ()
    queue: str | None = None
    namespace: str | None = None
    name: str | None = None
    labels: tuple[tuple[str, str, tuple[str, ...]], ...] = ()
    created_after: datetime | None = None
    created_before: datetime | None = None
    owner: str | None = None
    reason: str | None = None
    rerun_of: UUID | None = None
    before_id: UUID | None = None
    limit: int = 50


class _OneJobReader(Protocol):
    """What both readers of jobs need of one job."""

    async def get_job(self, job_id: UUID) -> Job | None:
        """Return the job, or None."""
        ...

    async def list_attempts(self, job_id: UUID) -> list[Attempt]:
        """Return the attempts of a job, the oldest first."""
        ...

    async def queue_standing(self, job_id: UUID, limits: AdmissionLimits) -> QueueStanding | None:
        """Return the place of a job that waits for admission. None: it does not wait, or it is not due yet."""
        ...


class JobReader(_OneJobReader, Protocol):
    """Jobs, lists of jobs, and the rows of one job: what the API answers with."""

    async def get_spec(self, job_id: UUID) -> bytes | None:
        """Return the JSON text of a job's spec, as it was stored at submit, or None."""
        ...

    async def list_jobs(self, query: JobFilter) -> list[Job]:
        """Return at most `query.limit` jobs, the newest first. The order is that of the ids, which is that of the submits."""
        ...

    async def list_transitions(self, job_id: UUID) -> list[Transition]:
        """Return the transitions of a job, the oldest first."""
        ...


class RecordReader(_OneJobReader, Protocol):
    """The record of one job: what an explanation is made from."""

    async def list_anomalies(self, job_id: UUID) -> list[Anomaly]:
        """Return the evidence that contradicts a job's terminal state, the oldest first."""
        ...


class VersionReader(Protocol):
    """The versions of jobs: what a long poll compares."""

    async def versions(self, job_ids: Collection[UUID]) -> dict[UUID, int]:
        """Return the current version of each of these jobs, with one query for any number. Unknown ids are left out."""
        ...


class WebReader(JobReader, RecordReader, VersionReader, Protocol):
    """All of these; an adapter offers this, and each part of the web-server takes what it needs."""
