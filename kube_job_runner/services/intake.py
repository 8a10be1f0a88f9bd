"""Intake: makes jobs from checked specs, and stores them in shared commits.

A request with an idempotency key stores its answer with the job. A repeated request stores nothing and gets that answer.
"""

import hashlib
from collections.abc import Callable, Sequence
from datetime import datetime
from uuid import UUID

import msgspec

from kube_job_runner.domain.errors import PermanentError, TemporaryError
from kube_job_runner.domain.job import Job, new_job
from kube_job_runner.domain.record import trace
from kube_job_runner.domain.record.trace import TraceContext
from kube_job_runner.domain.spec.model import JobSpec
from kube_job_runner.ports import Clock, Submission, SubmitOutcome, SubmitStore, Tracer
from kube_job_runner.services.group_commit import GroupCommit
from kube_job_runner.telemetry import loggers, metrics

log = loggers.get_logger(__name__)


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
        return self._commits.busy

    async def close(self) -> None:
        """Wait until every submission is committed or refused."""
        await self._commits.close()


class KeyReused(PermanentError):
    """The idempotency key belongs to another request; nothing was stored."""


class Accepted(msgspec.Struct, frozen=True):
    """A stored job, with the answer of the request that stored it; `replayed` when that was an earlier one."""

    job_id: UUID
    answer: bytes
    replayed: bool = False


class Intake:
    """The use case of submit: one job, a batch, or a rerun."""

    def __init__(
        self, submitter: Submitter, clock: Clock, *, default_namespace: str, tracer: Tracer | None = None
    ) -> None:
        self._submitter = submitter
        self._clock = clock
        self._default_namespace = default_namespace
        self._tracer = tracer

    async def submit(
        self,
        spec: JobSpec,
        *,
        owner: str,
        answer: Callable[[Job], bytes],
        key: str | None = None,
        request_hash: bytes | None = None,
        rerun_of: Job | None = None,
        parent: TraceContext | None = None,
    ) -> Accepted:
        """Store the job of a checked spec; `answer` makes the answer of the request.

        `request_hash` distinguishes requests with the same key (default: the hash of the spec). `rerun_of` is the job that
        this one runs again; reruns have a space of keys of their own. `parent` is the trace of the request.

        Raises:
            KeyReused: the key belongs to another request.
            Overloaded, DatabaseUnavailable: as `Submitter.submit`.
        """
        rerun_id = None if rerun_of is None else rerun_of.id
        job, encoded = self._new_job(spec, owner, self._clock.now(), parent, rerun_of=rerun_id)
        content = answer(job)
        if key is None:
            submission = Submission(job=job, spec=encoded)
        else:
            submission = Submission(
                job=job,
                spec=encoded,
                idempotency_key=f"job:{key}" if rerun_of is None else f"rerun:{key}",
                request_hash=request_hash or hashlib.sha256(encoded).digest(),
                response=content,
            )
        outcome = await self._submitter.submit(submission)
        if outcome.status == "mismatch":
            raise KeyReused
        if outcome.status == "replayed":
            return Accepted(outcome.job_id, outcome.response, replayed=True)
        metrics.jobs_submitted.inc()
        self._trace([job], parent, rerun=None if rerun_of is None else trace.of(rerun_of))
        return Accepted(outcome.job_id, content)

    async def submit_batch(
        self,
        specs: Sequence[JobSpec | None],
        *,
        owner: str,
        answer: Callable[[Job, int], bytes],
        body: bytes,
        key: str | None = None,
        parent: TraceContext | None = None,
    ) -> list[Accepted | Exception | None]:
        """Store the jobs of a batch in one commit; `answer` makes the answer of a job, given its index.

        A None among the jobs is one that was refused before; the result has None in its place. The outcome of a job that the
        store refuses is its error. The whole `body` decides whether two requests with one key are the same.

        Raises:
            KeyReused: the key belongs to another request.
            DatabaseUnavailable: it is not known which jobs are stored.
        """
        now = self._clock.now()  # one time for the whole batch
        # In the request hash of each job: any difference anywhere in the batch makes it another request.
        body_hash = b"" if key is None else hashlib.sha256(body).digest()
        submissions: dict[int, Submission] = {}
        for index, spec in enumerate(specs):
            if spec is not None:
                job, encoded = self._new_job(spec, owner, now, parent)
                submissions[index] = Submission(
                    job=job,
                    spec=encoded,
                    idempotency_key=None if key is None else f"batch:{index}:{key}",
                    request_hash=b"" if key is None else hashlib.sha256(body_hash + index.to_bytes(4, "big")).digest(),
                    response=answer(job, index),
                )
        outcomes = await self._store_batch(list(submissions.values()), keyed=key is not None)
        found: list[Accepted | Exception | None] = [None] * len(specs)
        created = []
        for (index, submission), outcome in zip(submissions.items(), outcomes, strict=True):
            found[index] = _accepted(submission, outcome)
            if isinstance(outcome, SubmitOutcome) and outcome.status == "created":
                created.append(submission.job)
        metrics.jobs_submitted.inc(len(created))
        self._trace(created, parent)
        return found

    def _new_job(
        self, spec: JobSpec, owner: str, now: datetime, parent: TraceContext | None, *, rerun_of: UUID | None = None
    ) -> tuple[Job, bytes]:
        context = parent if self._tracer is None else self._tracer.begin(parent)
        return new_job(
            spec,
            owner=owner,
            default_namespace=self._default_namespace,
            now=now,
            rerun_of=rerun_of,
            traceparent=None if context is None else context.header,
        )

    async def _store_batch(self, submissions: list[Submission], *, keyed: bool) -> list[SubmitOutcome | Exception]:
        """Store the jobs of a batch.

        With a key, the first job is stored alone: if its key belongs to another batch, none of the others may be stored.
        """
        first = 1 if keyed else len(submissions)
        outcomes: list[SubmitOutcome | Exception] = []
        for part in (submissions[:first], submissions[first:]):
            outcomes += await self._submitter.submit_many(part)
            if any(isinstance(outcome, SubmitOutcome) and outcome.status == "mismatch" for outcome in outcomes):
                raise KeyReused
        return outcomes

    def _trace(self, stored: Sequence[Job], parent: TraceContext | None, *, rerun: TraceContext | None = None) -> None:
        if self._tracer is None:
            return
        now = self._clock.now()
        contexts = [(job, context) for job in stored if (context := trace.of(job)) is not None]
        self._tracer.record(
            [
                trace.of_submit(job, context, parent=parent, ended_at=now, rerun=rerun)
                for job, context in contexts
                if context.sampled
            ]
        )


def _accepted(submission: Submission, outcome: SubmitOutcome | Exception) -> Accepted | Exception:
    if isinstance(outcome, Exception):
        log.error("a job of a batch was refused by the store", action="intake.batch", exc_info=outcome)
        return outcome
    if outcome.status == "replayed":
        return Accepted(outcome.job_id, outcome.response, replayed=True)
    return Accepted(outcome.job_id, submission.response)
