"""Submitting jobs, one or many, with idempotency keys. This is the hot path: little is made per request, and once."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

import msgspec
from msgspec import UNSET

from kube_job_runner.domain.decide.queued import new_job
from kube_job_runner.domain.job import Job
from kube_job_runner.domain.limits import SpecLimits
from kube_job_runner.domain.record import trace
from kube_job_runner.domain.record.trace import TraceContext
from kube_job_runner.domain.spec.model import JobSpec
from kube_job_runner.ports import Clock, Submission, SubmitOutcome, Tracer
from kube_job_runner.services.submitter import Submitter
from kube_job_runner.telemetry import loggers, metrics
from kube_job_runner.web.api import batches, idempotency, specs, traceheader
from kube_job_runner.web.api.problems import IDEMPOTENCY_KEY_REUSE
from kube_job_runner.web.api.queries import BatchBody, SubmitQuery
from kube_job_runner.web.api.views import BatchAnswer, JobSubmitted
from kube_job_runner.web.kit import problems
from kube_job_runner.web.kit.asgi import IN_LOOP_MAX_BYTES
from kube_job_runner.web.kit.handling import Call, Document, HeaderList, Nothing, Reply
from kube_job_runner.web.kit.problems import RequestProblem
from kube_job_runner.web.validation.body import Decoded
from kube_job_runner.web.validation.fault import Fault, summary

_encode = msgspec.json.Encoder().encode
_REPLAYED = (b"idempotency-replayed", b"true")

Prepared = Submission | bytes
"""One job of a batch, ready to be stored; or the encoded answer that refuses it."""


class SubmitApi:
    """The operations that store jobs."""

    def __init__(self, submitter: Submitter, clock: Clock, limits: SpecLimits, *, tracer: Tracer | None = None) -> None:
        self._submitter = submitter
        self._tracer = tracer
        self._clock = clock
        self._limits = limits
        self.decoder = specs.decoder(limits)

    async def submit(self, call: Call[Nothing, SubmitQuery, JobSpec]) -> Reply[JobSubmitted]:
        """Store one job."""
        key = idempotency.read_key(call.headers) if b"idempotency-key" in call.headers else None
        return await self.store(
            call.body,
            owner=call.principal,
            warnings=call.warnings,
            key=None if key is None else idempotency.job_key(key),
            parent=traceheader.read(call.headers),
        )

    async def store(
        self,
        spec: JobSpec,
        *,
        owner: str,
        warnings: Sequence[Fault],
        key: str | None,
        request_hash: bytes | None = None,
        rerun_of: Job | None = None,
        parent: TraceContext | None = None,
    ) -> Reply[JobSubmitted]:
        """Store the job of a checked spec. Under a `key` the request is told by its hash (by default that of the spec).

        `parent` is the trace of the request, if it came with one.

        Raises:
            RequestProblem: the key belongs to another request.
        """
        context = self._begin(parent)
        rerun_id = None if rerun_of is None else rerun_of.id
        submission, content = self._submission(
            spec, owner, self._clock.now(), warnings, rerun_of=rerun_id, context=context
        )
        if key is not None:
            submission = msgspec.structs.replace(
                submission,
                idempotency_key=key,
                request_hash=request_hash or hashlib.sha256(submission.spec).digest(),
                response=content,
            )
        outcome = await self._submitter.submit(submission)
        if outcome.status == "created":
            metrics.jobs_submitted.inc()
            self._trace([submission.job], parent, rerun=None if rerun_of is None else trace.of(rerun_of))
            return Reply(content=content, headers=(_location(outcome.job_id),))
        if outcome.status == "mismatch":
            raise RequestProblem(IDEMPOTENCY_KEY_REUSE)
        return Reply(content=outcome.response, headers=(_location(outcome.job_id), _REPLAYED))

    async def submit_batch(self, call: Call[Nothing, SubmitQuery, Document[BatchBody]]) -> Reply[BatchAnswer]:
        """Store up to 1,000 jobs in one commit; an answer for each."""
        key = idempotency.read_key(call.headers)
        raw = call.body.raw
        if len(raw) > IN_LOOP_MAX_BYTES:
            batch = await asyncio.to_thread(batches.read, raw, self.decoder, strict=call.query.strict)
        else:
            batch = batches.read(raw, self.decoder, strict=call.query.strict)
        now = self._clock.now()
        parent = traceheader.read(call.headers)
        prepared = [self._prepare(item, call, now, parent) for item in batch.items]
        if key is not None:
            body_hash = hashlib.sha256(raw).digest()
            prepared = [_keyed(item, key, body_hash, index) for index, item in enumerate(prepared)]
        outcomes = await self._store_all(
            [item for item in prepared if isinstance(item, Submission)], keyed=key is not None
        )
        created = {o.job_id for o in outcomes if isinstance(o, SubmitOutcome) and o.status == "created"}
        metrics.jobs_submitted.inc(len(created))
        stored = [item.job for item in prepared if isinstance(item, Submission) and item.job.id in created]
        self._trace(stored, parent)
        return _batch_reply(prepared, outcomes, batch.warnings, call)

    def _begin(self, parent: TraceContext | None) -> TraceContext | None:
        """Return the context that a job is stored with: a span of ours, or that of the request where we make none."""
        return parent if self._tracer is None else self._tracer.begin(parent)

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

    def _submission(
        self,
        spec: JobSpec,
        owner: str,
        now: datetime,
        warnings: Sequence[Fault],
        *,
        rerun_of: UUID | None = None,
        context: TraceContext | None = None,
    ) -> tuple[Submission, bytes]:
        job, encoded = new_job(
            spec,
            owner=owner,
            default_namespace=self._limits.default_namespace,
            now=now,
            rerun_of=rerun_of,
            traceparent=None if context is None else context.header,
        )
        answer = JobSubmitted(
            id=job.id,
            name=job.name,
            state=job.state,
            version=job.version,
            created_at=job.created_at,
            queue=job.queue,
            namespace=job.namespace,
            rerun_of=rerun_of or UNSET,
            warnings=warnings,
        )
        return Submission(job=job, spec=encoded), _encode(answer)

    def _prepare(
        self,
        item: Decoded[JobSpec],
        call: Call[Nothing, SubmitQuery, Document[BatchBody]],
        now: datetime,
        parent: TraceContext | None,
    ) -> Prepared:
        if item.value is None:
            problem = RequestProblem(problems.VALIDATION_FAILED, summary(item.faults), faults=item.faults)
            return _refused(problem, call.url, call.request_id)
        context = self._begin(parent)
        submission, content = self._submission(item.value, call.principal, now, item.warnings, context=context)
        return msgspec.structs.replace(submission, response=content)

    async def _store_all(self, submissions: list[Submission], *, keyed: bool) -> list[SubmitOutcome | Exception]:
        """Store the jobs of a batch.

        With a key the first goes alone: if its key belongs to another batch, none of the others may be stored.
        """
        if not keyed or len(submissions) < 2:
            outcomes = await self._submitter.submit_many(submissions)
        else:
            outcomes = await self._submitter.submit_many(submissions[:1])
            _check_reuse(outcomes)
            outcomes += await self._submitter.submit_many(submissions[1:])
        _check_reuse(outcomes)
        return outcomes


def _location(job_id: UUID) -> tuple[bytes, bytes]:
    return (b"location", f"/v1/jobs/{job_id}".encode())


def _keyed(item: Prepared, key: str, body_hash: bytes, index: int) -> Prepared:
    if not isinstance(item, Submission):
        return item
    return msgspec.structs.replace(
        item,
        idempotency_key=idempotency.item_key(key, index),
        request_hash=idempotency.item_hash(body_hash, index),
    )


def _check_reuse(outcomes: Sequence[SubmitOutcome | Exception]) -> None:
    if any(isinstance(outcome, SubmitOutcome) and outcome.status == "mismatch" for outcome in outcomes):
        raise RequestProblem(IDEMPOTENCY_KEY_REUSE)


def _refused(problem: RequestProblem, url: str, request_id: str) -> bytes:
    document = problems.details(problem, instance=url, request_id=request_id)
    return b'{"status":%d,"problem":%s}' % (problem.type.status, problems.encode(document))


def _batch_reply(
    prepared: Sequence[Prepared],
    outcomes: Sequence[SubmitOutcome | Exception],
    warnings: Sequence[Fault],
    call: Call[Nothing, SubmitQuery, Document[BatchBody]],
) -> Reply[BatchAnswer]:
    remaining = iter(outcomes)
    parts = []
    replayed = bool(outcomes)
    for item in prepared:
        if not isinstance(item, Submission):
            parts.append(item)
            continue
        outcome = next(remaining)
        if isinstance(outcome, Exception):
            replayed = False
            loggers.get_logger(__name__).error("job of a batch refused by the store", exc_info=outcome)
            parts.append(_refused(RequestProblem(problems.INTERNAL_ERROR), call.url, call.request_id))
            continue
        replayed = replayed and outcome.status == "replayed"
        content = outcome.response if outcome.status == "replayed" else item.response
        parts.append(b'{"status":201,"job":%s}' % content)
    content = b'{"results":[%s],"warnings":%s}' % (b",".join(parts), _encode(warnings))
    headers: HeaderList = (_REPLAYED,) if replayed else ()
    return Reply(content=content, headers=headers)
