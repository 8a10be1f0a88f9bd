"""Logs: the live log of an attempt, straight from the cluster, and why there is none when there is none."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncGenerator, AsyncIterator
from uuid import UUID

from kube_job_runner.domain import names
from kube_job_runner.domain.errors import KjrError, NotFound, TemporaryError
from kube_job_runner.domain.job import TERMINAL, Attempt, Job, State
from kube_job_runner.ports import ClusterLogs, JobReader
from kube_job_runner.services.read import ChangeHub

_RECHECK_SECONDS = 2.0


class LogNotReady(KjrError):
    """The attempt has no log yet; ask again, or with `follow=true` to wait for it."""


class LogUnavailable(KjrError):
    """There is no log to be had."""


class LogService:
    """Opens the live log of a job's attempt."""

    def __init__(self, reader: JobReader, logs: ClusterLogs | None, hub: ChangeHub) -> None:
        self._reader = reader
        self._logs = logs
        self._hub = hub

    async def open(
        self, job_id: UUID, *, attempt: int | None, follow: bool, tail_lines: int | None
    ) -> AsyncIterator[bytes]:
        """Return the chunks of the log of an attempt (None: the newest one).

        With `follow` the chunks wait for the pod to appear and to start, and end with the attempt; they end without
        any output when the attempt never starts.

        Raises:
            NotFound: there is no such job.
            LogNotReady: there is no log yet (without `follow`).
            LogUnavailable: there is none, or none any more; the message says why.
            TemporaryError: the store or the cluster does not answer.
        """
        if self._logs is None:
            raise LogUnavailable("this server has no access to the logs of the cluster")
        job = await self._job(job_id)
        wanted = attempt if attempt is not None else max(job.attempt, 1)
        found = await self._attempt(job, wanted)
        over = _over(job, found, wanted)
        if follow and not over:
            return self._follow(job_id, wanted, tail_lines=tail_lines)
        why = "its pod has not started" if found else "the attempt has not begun"
        if found is not None and found.pod_name:
            chunks = await self._first(found, follow=False, tail_lines=tail_lines)
            if chunks is not None:
                return chunks
            why = "its container has not started"
        if over:
            raise LogUnavailable(_no_log(job, found, wanted))
        raise LogNotReady(f"attempt {wanted} of job {job.id} has no log yet: {why} (the job is {job.state})")

    async def _follow(self, job_id: UUID, wanted: int, *, tail_lines: int | None) -> AsyncIterator[bytes]:
        while True:
            job = await self._reader.get_job(job_id)
            if job is None:
                return
            found = await self._attempt(job, wanted)
            if found is not None and found.pod_name:
                chunks = await self._try_first(found, over=_over(job, found, wanted), tail_lines=tail_lines)
                if chunks is not None:
                    async with contextlib.aclosing(chunks):
                        async for chunk in chunks:
                            yield chunk
                    return
            if _over(job, found, wanted):
                return
            await self._hub.wait_newer(job_id, than=job.version, timeout_seconds=_RECHECK_SECONDS)

    async def _try_first(self, attempt: Attempt, *, over: bool, tail_lines: int | None) -> AsyncGenerator[bytes] | None:
        try:
            return await self._first(attempt, follow=True, tail_lines=tail_lines)
        except TemporaryError:
            if over:  # an end without an error would say that the log is complete
                raise
            return None

    async def _job(self, job_id: UUID) -> Job:
        job = await self._reader.get_job(job_id)
        if job is None:
            raise NotFound(f"there is no job {job_id}")
        return job

    async def _attempt(self, job: Job, number: int) -> Attempt | None:
        attempts = await self._reader.list_attempts(job.id)
        return next((attempt for attempt in attempts if attempt.number == number), None)

    async def _first(self, attempt: Attempt, *, follow: bool, tail_lines: int | None) -> AsyncGenerator[bytes] | None:
        """Read up to the first chunk, so that a log that is not there is known before the answer begins."""
        assert self._logs is not None
        chunks = self._logs.logs(
            attempt.namespace,
            attempt.pod_name,
            container=names.MAIN_CONTAINER,
            follow=follow,
            tail_lines=tail_lines,
        )
        try:
            first = await anext(chunks, b"")
        except NotFound:
            return None
        return _chain(first, chunks)


async def _chain(first: bytes, rest: AsyncIterator[bytes]) -> AsyncGenerator[bytes]:
    try:
        if first:
            yield first
        async for chunk in rest:
            yield chunk
    finally:
        close = getattr(rest, "aclose", None)
        if close is not None:
            await close()


def _over(job: Job, attempt: Attempt | None, wanted: int) -> bool:
    """Whether an attempt that has no log can never have one any more."""
    if job.state in TERMINAL:
        return True
    if attempt is None:
        return wanted < job.attempt
    return attempt.verdict is not None or attempt.gone_at is not None or attempt.number < job.attempt


def _no_log(job: Job, attempt: Attempt | None, wanted: int) -> str:
    if attempt is None:
        ended = f": the job is {job.state} after {job.attempt} attempt(s)" if job.attempt else ""
        never = job.explanation or f"the job is {job.state}, reason {job.reason or 'none'}"
        return f"there is no attempt {wanted}{ended or ': ' + never}"
    if not attempt.pod_name or attempt.started_at is None:
        verdict = attempt.verdict
        reason = f" ({verdict.reason}: {verdict.explanation})" if verdict else ""
        return f"attempt {wanted} never started, so it wrote no log{reason}"
    if attempt.gone_at is not None:
        return (
            f"the pod of attempt {wanted} was removed from the cluster at {attempt.gone_at.isoformat()}, with its log"
        )
    after = "cancelled" if job.state is State.CANCELLED else "ended"
    return f"the cluster no longer has the log of attempt {wanted}; the job has {after}"
