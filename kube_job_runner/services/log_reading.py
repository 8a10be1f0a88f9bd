"""Reads logs from the store, and follows them as they grow. Only the log-collector asks the cluster; a reader wakes it.

All followers share one task that polls the versions of their logs. So a thousand readers cost the database one small query
for each change or second, and each holds only a few chunks in memory.
"""

from collections.abc import AsyncGenerator, AsyncIterator
from datetime import datetime
from uuid import UUID

import msgspec

from kube_job_runner.domain import names
from kube_job_runner.domain.decide import cleanup
from kube_job_runner.domain.errors import KjrError, NotFound
from kube_job_runner.domain.job import Attempt, Job
from kube_job_runner.domain.logs.chunks import shared_body
from kube_job_runner.domain.logs.stamps import stamp_of
from kube_job_runner.domain.logs.view import Place, Renderer, View
from kube_job_runner.domain.states import TERMINAL
from kube_job_runner.ports import Clock, ContainerLog, JobReader, LogKey, LogReader, LogState
from kube_job_runner.services.change_hub import ChangeHub
from kube_job_runner.services.shared_reads import LogReads, SharedReads

CATCH_UP_SECONDS = 3.0
_RECHECK_SECONDS = 2.0
_WANT_SECONDS = 20.0
_CHUNKS_AT_ONCE = 4


class LogNotReady(KjrError):
    """The attempt has no log yet; ask again, or with `follow=true` to wait for it."""


class LogUnavailable(KjrError):
    """There is no log, and there will be none."""


class LogRequest(msgspec.Struct, frozen=True, kw_only=True):
    """Which log to read, and which lines of it. With `after`, reading continues from that place, and `tail` is ignored."""

    attempt: int | None = None
    container: str = names.MAIN_CONTAINER
    follow: bool = False
    tail: int | None = None
    since: datetime | None = None
    grep: bytes = b""
    timestamps: bool = False
    frames: bool = False
    after: Place | None = None


class LogService:
    def __init__(
        self, jobs: JobReader, logs: LogReader, clock: Clock, *, hub: ChangeHub[UUID], log_hub: ChangeHub[LogKey]
    ) -> None:
        self._jobs = jobs
        self._logs = logs
        self._clock = clock
        self._hub = hub
        self._log_hub = log_hub
        self._shared = SharedReads(logs)

    async def open(self, job_id: UUID, request: LogRequest) -> AsyncIterator[bytes]:
        """Return the text of the log of an attempt, chunk by chunk.

        With `follow` the text waits for the start and ends with the complete log; it is empty when the attempt never
        starts. Without `follow`, the log of a running attempt ends with what is there now.

        Raises:
            NotFound: there is no such job.
            LogNotReady: there is no log yet (only without `follow`).
            LogUnavailable: there is no log, or it was removed; the message says why.
            TemporaryError: the store does not answer.
        """
        job = await self._jobs.get_job(job_id)
        if job is None:
            raise NotFound(f"there is no job {job_id}")
        number = request.attempt if request.attempt is not None else max(job.attempt, 1)
        found = await self._attempt(job_id, number)
        key = (job_id, number)
        state = await self._logs.log_state(key)
        if state is None:
            if _over(job, found, number):
                raise LogUnavailable(_no_log(job, found, number))
            if request.follow:
                return self._await_start(key, request)
            raise LogNotReady(_not_yet(job, found, number))
        if not state.done and not request.follow:
            state = await self._caught_up(key)
        stored = await self._logs.containers(key)
        self._check(request, state, stored, found, number)
        return self._stream(key, request, stored)

    def _check(
        self, request: LogRequest, state: LogState, stored: list[ContainerLog], found: Attempt | None, number: int
    ) -> None:
        """Raise `LogUnavailable` if nothing is stored of the container, and nothing will be."""
        if any(one.container == request.container for one in stored):
            return
        pod = found.facts.newest_pod if found is not None else None
        known = [container.name for container in pod.containers] if pod is not None else []
        if request.container not in (*known, names.MAIN_CONTAINER):
            there = ", ".join(known) or names.MAIN_CONTAINER
            raise LogUnavailable(f"attempt {number} has no container {request.container}; it has: {there}")
        if state.removed_at is not None:
            raise LogUnavailable(f"the log of attempt {number} was removed by retention on {state.removed_at:%Y-%m-%d}")
        if state.status == "lost":
            raise LogUnavailable(f"the log of attempt {number} is lost: {state.lost_reason}")

    async def _await_start(self, key: LogKey, request: LogRequest) -> AsyncGenerator[bytes]:
        job_id, number = key
        while True:
            job = await self._jobs.get_job(job_id)
            if job is None:
                return
            if await self._logs.log_state(key) is not None:
                break
            if _over(job, await self._attempt(job_id, number), number) or self._hub.closed:
                return
            await self._hub.wait_newer(job_id, than=job.version, timeout_seconds=_RECHECK_SECONDS)
        async for text in self._stream(key, request, []):
            yield text

    async def _caught_up(self, key: LogKey) -> LogState:
        """Wait until the log-collector has stored all that the cluster has, or for a few seconds."""
        await self._logs.want_log(key)
        deadline = self._clock.monotonic() + CATCH_UP_SECONDS
        while True:
            state = await self._logs.log_state(key)
            if state is None:
                raise LogUnavailable("the log was removed while it was read")
            left_seconds = deadline - self._clock.monotonic()
            if state.done or state.fresh or left_seconds <= 0:
                return state
            await self._log_hub.wait_newer(key, than=state.version, timeout_seconds=left_seconds)

    async def _stream(self, key: LogKey, request: LogRequest, stored: list[ContainerLog]) -> AsyncGenerator[bytes]:
        renderer = await self._renderer(key, request, stored)
        wanted_at = float("-inf")
        began = False
        reads: LogReads = self._logs
        while True:
            state = await reads.log_state(key)  # before the chunks: if it says done, they are complete
            async for text in self._chunks(reads, key, request, renderer):
                began = True
                yield text
            if state is None or not request.follow or state.done or self._log_hub.closed:
                break
            now = self._clock.monotonic()
            if now - wanted_at >= _WANT_SECONDS:
                await self._logs.want_log(key)
                wanted_at = now
            await self._log_hub.wait_newer(key, than=state.version, timeout_seconds=_RECHECK_SECONDS)
            reads = self._shared.after_look(self._log_hub.looks)
        rest = renderer.finish()
        if rest:
            yield _framed(rest, renderer.read) if request.frames else rest
        if state is not None and state.status == "lost" and not began and not stored and request.follow:
            # The answer has begun. It is cut off, so the client asks again and then gets the reason.
            raise LogUnavailable(f"the log is lost: {state.lost_reason}")

    async def _chunks(
        self, reads: LogReads, key: LogKey, request: LogRequest, renderer: Renderer
    ) -> AsyncGenerator[bytes]:
        while True:
            before = renderer.read
            chunks = await reads.read_chunks(key, request.container, from_seq=before.seq, limit=_CHUNKS_AT_ONCE)
            for chunk in chunks:
                if chunk.mark:
                    text = renderer.mark(chunk)
                elif chunk.data is not None:
                    text = renderer.body(chunk, shared_body(chunk.data))
                else:
                    continue
                if request.frames and (text or renderer.place != before):
                    yield _framed(text, renderer.place)
                elif text:
                    yield text
            if renderer.read == before or len(chunks) < _CHUNKS_AT_ONCE:
                return

    async def _renderer(self, key: LogKey, request: LogRequest, stored: list[ContainerLog]) -> Renderer:
        view = View(
            timestamps=request.timestamps,
            grep=request.grep,
            since_stamp=max(1, stamp_of(request.since)) if request.since is not None else 0,
        )
        if request.after is not None:
            return Renderer(view, start=request.after, resumed=True)
        lines = next((one.lines for one in stored if one.container == request.container), 0)
        seq = 0
        if view.since_stamp and lines:
            seq = await self._logs.find_chunk(key, request.container, stamp=view.since_stamp)
            if seq == 0:  # all lines are older, so begin at the end
                view = msgspec.structs.replace(view, first_line=lines + 1)
        if request.tail is not None and request.tail < lines:
            view = msgspec.structs.replace(view, first_line=max(view.first_line, lines - request.tail + 1))
        if view.first_line > 1:
            line_seq = await self._logs.find_chunk(key, request.container, line=min(view.first_line, lines))
            seq = max(seq, line_seq)
        return Renderer(view, start=Place(seq, 0), resumed=False)

    async def _attempt(self, job_id: UUID, number: int) -> Attempt | None:
        attempts = await self._jobs.list_attempts(job_id)
        return next((attempt for attempt in attempts if attempt.number == number), None)


def _framed(text: bytes, place: Place) -> bytes:
    return f"{place} {len(text)}\n".encode() + text


def _over(job: Job, attempt: Attempt | None, wanted: int) -> bool:
    """Return whether an attempt without a log can no longer get one."""
    if job.state in TERMINAL:
        return True
    if attempt is None:
        return wanted < job.attempt
    return attempt.verdict is not None or attempt.gone_at is not None or attempt.number < job.attempt


def _not_yet(job: Job, attempt: Attempt | None, wanted: int) -> str:
    why = "the attempt has not begun"
    if attempt is not None:
        why = "its container has not started" if attempt.pod_name else "its pod has not started"
    return f"attempt {wanted} of job {job.id} has no log yet: {why} (the job is {job.state})"


def _no_log(job: Job, attempt: Attempt | None, wanted: int) -> str:
    if attempt is None:
        ended = f": the job is {job.state} after {job.attempt} attempt(s)" if job.attempt else ""
        never = job.explanation or f"the job is {job.state}, reason {job.reason or 'none'}"
        return f"there is no attempt {wanted}{ended or ': ' + never}"
    if cleanup.pod_unseen(attempt):
        if attempt.delete_requested_at is None and attempt.gone_at is None:
            return f"the pod of attempt {wanted} was not seen yet; its log can still come until its Job is removed"
        return f"the log of attempt {wanted} is lost: its pod was never seen"
    if not cleanup.log_expected(attempt):
        verdict = attempt.verdict
        reason = f" ({verdict.reason}: {verdict.explanation})" if verdict else ""
        return f"attempt {wanted} never started, so it wrote no log{reason}"
    return f"there is no record of the log of attempt {wanted}: it ran before this server stored logs"
