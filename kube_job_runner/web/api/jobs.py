"""Reading and cancelling jobs."""

from __future__ import annotations

from datetime import UTC, datetime
from urllib.parse import urlencode
from uuid import UUID

import msgspec

from kube_job_runner.domain.errors import NotFound
from kube_job_runner.domain.failures import categories
from kube_job_runner.domain.job import Job
from kube_job_runner.domain.limits import DEFAULT_ADMISSION, AdmissionLimits
from kube_job_runner.domain.spec.model import JobSpec
from kube_job_runner.domain.states import State
from kube_job_runner.ports import Clock, JobFilter, JobReader, SubmitStore
from kube_job_runner.services import listing
from kube_job_runner.services.change_hub import ChangeHub
from kube_job_runner.services.log_reading import LogService
from kube_job_runner.web.api import logquery, queries, views
from kube_job_runner.web.api.problems import JOB_ENDED
from kube_job_runner.web.kit.handling import TEXT, Call, Nothing, Reply
from kube_job_runner.web.kit.problems import RequestProblem
from kube_job_runner.web.kit.queries import wrong_query
from kube_job_runner.web.validation.fault import Fault

# No job is older or newer, so a filter beyond means the same; and the store may reckon with some days around it.
_EARLIEST = datetime(1970, 1, 2, tzinfo=UTC)
_LATEST = datetime(9999, 1, 1, tzinfo=UTC)
_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0}
_FRAMES = b"application/vnd.kube-job-runner.log-frames"
_LOG_HEADERS = ((b"content-security-policy", b"default-src 'none'; sandbox"), (b"x-accel-buffering", b"no"))


class JobsApi:
    """The operations on jobs that are stored."""

    def __init__(
        self,
        reader: JobReader,
        store: SubmitStore,
        hub: ChangeHub[UUID],
        logs: LogService,
        *,
        clock: Clock,
        wait_max_seconds: float,
        admission: AdmissionLimits = DEFAULT_ADMISSION,
    ) -> None:
        self._reader = reader
        self._store = store
        self._hub = hub
        self._logs = logs
        self._clock = clock
        self._wait_max_seconds = wait_max_seconds
        self._admission = admission

    async def get(self, call: Call[queries.JobPath, queries.JobQuery, Nothing]) -> Reply[views.JobView]:
        """Return a job, at once or when it has changed."""
        job_id, since = call.path.id, call.query.since
        job = await self._job(job_id)
        wait_seconds = min(_seconds(call.query.wait), self._wait_max_seconds)
        if wait_seconds > 0 and job.version <= since:
            await call.attend(self._hub.wait_newer(job_id, than=since, timeout_seconds=wait_seconds))
            job = await self._job(job_id)
        etag = b'"%d"' % job.version
        headers = ((b"etag", etag),)
        if _matches(call.headers.get(b"if-none-match"), etag):
            return Reply(status=304, headers=headers)
        standing = None
        if job.state is State.QUEUED and job.admitted_at is None:
            standing = await self._reader.queue_standing(job_id, self._admission)
        return Reply(views.job_view(job, standing=standing), headers=headers)

    async def list(self, call: Call[Nothing, queries.ListQuery, Nothing]) -> Reply[views.JobPage]:
        """Return a page of jobs, newest first."""
        query = call.query
        jobs = await self._reader.list_jobs(_filter(query))
        next_cursor = None
        headers: tuple[tuple[bytes, bytes], ...] = ()
        if len(jobs) > query.limit:
            jobs = jobs[: query.limit]
            next_cursor = listing.encode_cursor(jobs[-1].id)
            headers = ((b"link", _next_link(query, next_cursor)),)
        page = views.JobPage(jobs=[views.job_view(job) for job in jobs], next_cursor=next_cursor)
        return Reply(page, headers=headers)

    async def cancel(
        self, call: Call[queries.JobPath, queries.SubmitQuery, queries.CancelBody]
    ) -> Reply[views.JobView]:
        """Ask for the end of a job; asking again changes nothing but, when less grace is given, how soon its pod is killed."""
        body = call.body
        job = await self._store.request_cancel(
            call.path.id, by=call.principal, reason=body.reason, grace_seconds=body.grace_seconds
        )
        if job is None:
            raise _no_job(call.path.id)
        if job.state in (State.SUCCEEDED, State.FAILED):
            raise RequestProblem(JOB_ENDED, _ended(job))
        return Reply(views.job_view(job, warnings=[*call.warnings, *_asked_before(job, body)]))

    async def attempts(self, call: Call[queries.JobPath, Nothing, Nothing]) -> Reply[views.AttemptList]:
        """Return the attempts of a job."""
        attempts = await self._reader.list_attempts(call.path.id)
        if not attempts:
            await self._job(call.path.id)
        return Reply(views.AttemptList(attempts=[views.attempt_view(attempt) for attempt in attempts]))

    async def transitions(self, call: Call[queries.JobPath, Nothing, Nothing]) -> Reply[views.TransitionList]:
        """Return the history of a job."""
        found = await self._reader.list_transitions(call.path.id)
        if not found:
            await self._job(call.path.id)
        return Reply(views.TransitionList(removed=not found, transitions=[views.transition_view(one) for one in found]))

    async def spec(self, call: Call[queries.JobPath, Nothing, Nothing]) -> Reply[JobSpec]:
        """Return the spec of a job as it was stored."""
        encoded = await self._reader.get_spec(call.path.id)
        if encoded is None:
            raise _no_job(call.path.id)
        return Reply(content=encoded)

    async def logs(self, call: Call[queries.JobPath, queries.LogQuery, Nothing]) -> Reply[Nothing]:
        """Stream the log of an attempt."""
        query = call.query
        chunks = await self._logs.open(call.path.id, logquery.request(query, now=self._clock.now()))
        return Reply(chunks=chunks, media_type=_FRAMES if query.frames else TEXT, headers=_LOG_HEADERS)

    async def _job(self, job_id: UUID) -> Job:
        job = await self._reader.get_job(job_id)
        if job is None:
            raise _no_job(job_id)
        return job


def _ended(job: Job) -> str:
    when = f" at {job.finished_at.isoformat()}" if job.finished_at else ""
    how = f", reason {job.reason}" if job.reason else ""
    asked = ""
    if job.cancel is not None:
        by = f" by {job.cancel.by}" if job.cancel.by else ""
        asked = f"; a cancel asked for{by} at {job.cancel.at.isoformat()} came too late"
    return f"the job has already {job.state}{when}{how}{asked}"


def _asked_before(job: Job, body: queries.CancelBody) -> list[Fault]:
    """Return a warning when a cancel gave more grace than one before it: who was told to hurry is not slowed down."""
    if job.cancel is None or body.grace_seconds in (None, job.cancel.grace_seconds):
        return []
    by = f" by {job.cancel.by}" if job.cancel.by else ""
    detail = f"was not taken: a cancel with less grace was asked for before{by}, at {job.cancel.at.isoformat()}"
    return [Fault("/grace_seconds", detail)]


def _no_job(job_id: UUID) -> NotFound:
    return NotFound(f"there is no job {job_id}")


def _seconds(wait: str | None) -> float:
    if wait is None:
        return 0.0
    unit = next((unit for unit in _UNITS if wait.endswith(unit)), "s")
    return float(wait.removesuffix(unit)) * _UNITS[unit]


def _matches(if_none_match: bytes | None, etag: bytes) -> bool:
    """Compare as RFC 9110, section 13.1.2 says: a list or `*`, weak comparison."""
    if if_none_match is None:
        return False
    tags = [tag.strip().removeprefix(b"W/") for tag in if_none_match.split(b",")]
    return b"*" in tags or etag in tags


def _filter(query: queries.ListQuery) -> JobFilter:
    faults: list[Fault] = []
    labels: tuple[listing.LabelTerm, ...] = ()
    before_id: UUID | None = None
    times: dict[str, datetime | None] = {"created_after": query.created_after, "created_before": query.created_before}
    try:
        labels = listing.parse_selector(query.labels or "")
    except listing.SelectorError as error:
        faults.append(Fault("/labels", str(error), "query"))
    if query.cursor is not None:
        before_id = listing.decode_cursor(query.cursor)
    for name, time in times.items():
        try:
            times[name] = min(max(time.astimezone(UTC), _EARLIEST), _LATEST) if time else None
        except OverflowError:
            faults.append(Fault(f"/{name}", "is outside the years 1 to 9999 in UTC", "query"))
    if faults:
        raise wrong_query(faults)
    return JobFilter(
        states=query.state,
        queue=query.queue,
        namespace=query.namespace,
        name=query.name,
        reason=categories.code_of(query.reason) if query.reason is not None else None,
        rerun_of=query.rerun_of,
        labels=labels,
        created_after=times["created_after"],
        created_before=times["created_before"],
        before_id=before_id,
        limit=query.limit + 1,
    )


def _next_link(query: queries.ListQuery, cursor: str) -> bytes:
    parameters = []
    for name, value in msgspec.structs.asdict(query).items():
        if value is None or value == () or name == "cursor":
            continue
        if isinstance(value, datetime):
            parameters.append((name, value.isoformat()))
        else:
            parameters.append((name, ",".join(value) if isinstance(value, tuple) else str(value)))
    target = "/v1/jobs?" + urlencode([*parameters, ("cursor", cursor)])
    return f'<{target}>; rel="next"'.encode("ascii")
