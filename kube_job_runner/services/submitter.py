"""Submit: from a checked spec to a durable job, with commits shared by the requests that wait at the same time.

Group commit without a timer: a request joins a queue, and whichever committer is free takes all that wait (at most
`batch_max`). One request alone is committed at once; under load the batches grow by themselves. A request is answered
only after its commit (promise I1). A batch that fails for a reason of its data is tried row by row, so that one bad row
fails alone.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

import msgspec

from kube_job_runner.domain import names
from kube_job_runner.domain.decide import lifecycle
from kube_job_runner.domain.errors import TemporaryError
from kube_job_runner.domain.job import Job, Policy
from kube_job_runner.domain.spec.model import JobSpec
from kube_job_runner.ports import Submission, SubmitOutcome, SubmitStore

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
        next_check_at=lifecycle.queue_deadline(now, spec.timeouts),
        rerun_of=rerun_of,
        traceparent=traceparent,
    )
    return job, _encoder.encode(spec)


class _Waiting:
    """One submission in the queue, and the future that its request waits on."""

    __slots__ = ("future", "submission")

    def __init__(self, submission: Submission, future: asyncio.Future[SubmitOutcome]) -> None:
        self.submission = submission
        self.future = future


class Submitter:
    """Stores submissions; concurrent callers share commits."""

    def __init__(
        self, store: SubmitStore, *, committers: int = 2, batch_max: int = 500, queue_max: int = 10_000
    ) -> None:
        self._store = store
        self._committers = committers
        self._batch_max = batch_max
        self._queue_max = queue_max
        self._queue: deque[_Waiting] = deque()
        self._running: set[asyncio.Task[None]] = set()

    async def submit(self, submission: Submission) -> SubmitOutcome:
        """Store one submission, in a commit shared with those that wait beside it.

        Raises:
            Overloaded: too many submissions wait already.
            DatabaseUnavailable: nothing is known to be stored.
        """
        if len(self._queue) >= self._queue_max:
            raise Overloaded
        future: asyncio.Future[SubmitOutcome] = asyncio.get_running_loop().create_future()
        self._queue.append(_Waiting(submission, future))
        if len(self._running) < self._committers:
            self._start()
        return await future

    @property
    def waiting(self) -> int:
        """How many submissions wait for a committer."""
        return len(self._queue)

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

    async def close(self) -> None:
        """Wait until all that was taken is committed or refused."""
        while self._running:
            await asyncio.wait(self._running)

    def _start(self) -> None:
        task = asyncio.create_task(self._commit_all(), name="submit-committer")
        self._running.add(task)
        task.add_done_callback(self._running.discard)

    async def _commit_all(self) -> None:
        while self._queue:
            size = min(len(self._queue), self._batch_max)
            await self._commit([self._queue.popleft() for _ in range(size)])

    async def _commit(self, batch: list[_Waiting]) -> None:
        try:
            outcomes = await self._store.insert_jobs([waiting.submission for waiting in batch])
        except TemporaryError as error:
            _fail(batch, error)
        except Exception as error:  # noqa: BLE001 - whatever it is, it belongs to the requests that wait
            await self._commit_alone(batch, error)
        except asyncio.CancelledError:
            _fail(batch, Overloaded("the server is stopping"))
            raise
        else:
            for waiting, outcome in zip(batch, outcomes, strict=True):
                if not waiting.future.done():
                    waiting.future.set_result(outcome)

    async def _commit_alone(self, batch: list[_Waiting], error: Exception) -> None:
        if len(batch) == 1:
            _fail(batch, error)
            return
        for waiting in batch:
            await self._commit([waiting])


def _fail(batch: list[_Waiting], error: Exception) -> None:
    for waiting in batch:
        if not waiting.future.done():
            waiting.future.set_exception(error)
