"""A turn: the right to create the cluster job of one queued job, with its lease, as the row of the job records it."""

import asyncio
from collections.abc import Awaitable
from datetime import datetime
from typing import TypeVar

import msgspec

from kube_job_runner.domain.decide import create_lease
from kube_job_runner.domain.errors import ClusterRefused, NameTaken, NotSent, TemporaryError
from kube_job_runner.domain.failures import refusals
from kube_job_runner.domain.job import Job
from kube_job_runner.ports.send_lease import Sending, SendLease

T = TypeVar("T")


class Turn(msgspec.Struct, kw_only=True):
    """`create_until` is what the row says because of this turn, and `earlier` what it said before: a create of unknown outcome.

    `settled` becomes true when it is known what became of the create of this turn.
    """

    lease: SendLease
    create_until: datetime | None = None
    earlier: datetime | None = None
    settled: bool = False

    def row(self, job: Job) -> Job:
        """Return the row of a job as the outcome of the turn leaves it: a create of unknown outcome stays in it."""
        return create_lease.given_back(job, earlier=self.earlier) if self.settled else job

    def learn(self, sending: Sending, error: Exception | None = None) -> None:
        """Take note of how a create ended: what the cluster answered for good is known, and what never left."""
        known = error is None or isinstance(error, ClusterRefused | NameTaken | NotSent)
        self.settled = (sending.unanswered == 0) if known else sending.outcome_known
        if sending.adopted:
            self.earlier = None  # it has arrived


async def within(sending: Sending, answer: Awaitable[T], *, action: str) -> T:
    """Return the answer to a request, if it comes within the lease.

    Raises:
        NotSent: the lease was about to end before the request was sent.
        TemporaryError: no answer came in time, so it is unknown whether the request was carried out.
    """
    try:
        async with asyncio.timeout(max(0.0, sending.lease.left_seconds)):
            return await answer
    except TimeoutError:
        if sending.asked and not sending.sent:
            raise NotSent(delay_seconds=0.0) from None
        message = f"{action}: no answer before the lease on the job ended"
        raise TemporaryError(message, reason=refusals.CLUSTER_UNAVAILABLE.reason) from None
