"""Submit: from a checked spec to a durable job, with commits shared by the requests that wait at the same time.

A request is answered only after its commit (promise I1).
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

import msgspec

from kube_job_runner.domain import names
from kube_job_runner.domain.decide import deadlines
from kube_job_runner.domain.errors import TemporaryError
from kube_job_runner.domain.job import Job, Policy
from kube_job_runner.domain.spec.model import JobSpec
from kube_job_runner.ports import Submission, SubmitOutcome, SubmitStore
from kube_job_runner.services.group_commit import GroupCommit

_encoder = msgspec.json.Encoder()
_DEFAULT_POLICY = Policy()


def _policy(spec: JobSpec) -> Policy:
    grows = any(rule.action == "grow_memory" for rule in spec.retry.rules)
    policy = Policy(
        timeouts=spec.timeouts,
        retry=spec.retry,
        memory=(spec.resources.memory or "") if grows else "",
        stop_grace_seconds=spec.stop_grace_seconds,
    )
    return _DEFAULT_POLICY if policy == _DEFAULT_POLICY else policy


class Overloaded(TemporaryError):
    """More submits wait for the database than the server may hold; try again soon."""


def new_job(
    spec: JobSpec,
    *,
    owner: str,
    default_namespace: str,
    now: datetime,
    rerun_of: UUID | None = None,
    traceparent: str | None = None,
) -> tuple[Job, bytes]:
    """Return the job of a checked spec, in its first state, and the encoded spec that is stored beside it."""
    job = Job(
        id=names.new_job_id(now),
        name=spec.name or names.default_job_name(spec.image),
        queue=spec.queue,
        namespace=spec.namespace or default_namespace,
        priority=spec.priority,
        owner=owner,
        labels=spec.labels,
        policy=_policy(spec),
        created_at=now,
        due_at=now,
        next_check_at=deadlines.queue_deadline_of(now, spec.timeouts),
        rerun_of=rerun_of,
        traceparent=traceparent,
    )
    return job, _encoder.encode(spec)


class Submitter:
    """Stores submissions; concurrent callers share commits."""

    def __init__(
        self, store: SubmitStore, *, committers: int = 2, batch_max: int = 500, queue_max: int = 10_000
    ) -> None:
        self._store = store
        self._queue_max = queue_max
        self._commits: GroupCommit[Submission, SubmitOutcome] = GroupCommit(
            store.insert_jobs, name="submit-committer", batch_max=batch_max, committers=committers
        )

    async def submit(self, submission: Submission) -> SubmitOutcome:
        """Store one submission, in a commit that it may share with others.

        Raises:
            Overloaded: too many submissions wait already.
            DatabaseUnavailable: nothing is known to be stored.
        """
        if self._commits.waiting >= self._queue_max:
            raise Overloaded
        return await self._commits.add(submission)

    @property
    def waiting(self) -> int:
        """How many submissions wait for a committer."""
        return self._commits.waiting

    async def submit_many(self, submissions: Sequence[Submission]) -> list[SubmitOutcome | Exception]:
        """Store submissions in a commit of their own; outcomes in the same order.

        When that commit fails for a reason of its data, each is tried alone, and the outcome of a bad one is its error.

        Raises:
            DatabaseUnavailable: it is not known which are stored; with the same keys the call may be made again.
        """
        if not submissions:
            return []
        try:
            return list(await self._store.insert_jobs(submissions))
        except TemporaryError:
            raise
        except Exception as error:  # noqa: BLE001 - whatever it is, it belongs to some of the submissions
            if len(submissions) == 1:
                return [error]
        return [(await self.submit_many([submission]))[0] for submission in submissions]

    @property
    def busy(self) -> bool:
        """Whether a commit is under way."""
        return self._commits.busy

    async def close(self) -> None:
        """Wait until all that was taken is committed or refused."""
        await self._commits.close()
