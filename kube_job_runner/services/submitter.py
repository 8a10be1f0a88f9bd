"""Submitter: stores jobs in commits that concurrent requests share. A request is answered only after its commit."""

from __future__ import annotations

from collections.abc import Sequence

from kube_job_runner.domain.errors import TemporaryError
from kube_job_runner.ports import Submission, SubmitOutcome, SubmitStore
from kube_job_runner.services.group_commit import GroupCommit


class Overloaded(TemporaryError):
    """Too many submits are waiting for the database; retry soon."""


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

        If that commit fails because of its data, each submission is tried alone, and the outcome of a bad one is its error.

        Raises:
            DatabaseUnavailable: it is not known which are stored. With the same keys the call may be repeated.
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
        """Wait until every submission is committed or refused."""
        await self._commits.close()
