"""The asynchronous client: every call of the API, waiting, logs."""

import asyncio
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from typing import Any, Self, Unpack

import httpx2

from kube_job_runner.client import api_calls, connection, errors, models
from kube_job_runner.client.aio import following
from kube_job_runner.client.aio.link import AsyncLink
from kube_job_runner.client.link_settings import LinkSettings
from kube_job_runner.client.log_cursor import LogCursor, LogOptions
from kube_job_runner.client.retry import OnRetry, RetryPolicy

JsonObject = Mapping[str, Any]
Answers = list[models.BatchAnswer]
Attempts = list[models.Attempt]
Transitions = list[models.Transition]
Simulations = list[models.Simulation]


class AsyncClient:
    """A client of a kube-job-runner server. It belongs to one event loop. Close it, or use it as a context manager.

    `server` and `token` default to KJR_SERVER and KJR_TOKEN, then to the server that `kjr up` started on this machine.
    `retry` limits the retries of a single call. `outage_seconds` is how long a wait or a followed log is retried while the
    server does not answer. `on_retry` is called before each wait for a retry, with the reason and the seconds.

    Raises:
        NotConfigured: no server is known.
    """

    def __init__(
        self,
        server: str | None = None,
        token: str | None = None,
        *,
        retry: RetryPolicy | None = None,
        outage_seconds: float = 600.0,
        on_retry: OnRetry | None = None,
        transport: httpx2.AsyncBaseTransport | None = None,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        found = connection.discover(server, token)
        settings = LinkSettings(found, retry or RetryPolicy(), outage_seconds, on_retry, monotonic)
        self._monotonic = monotonic
        self._link = AsyncLink(settings, transport, sleep)

    @property
    def server(self) -> str:
        """The base URL of the server."""
        return self._link.settings.connection.url

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the connections."""
        await self._link.close()

    # --- one call each ---

    async def submit(
        self, spec: JsonObject | None = None, *, idempotency_key: str | None = None, strict: bool = False, **fields: Any
    ) -> models.Job:
        """Submit one job: a spec, or its fields as keyword arguments. The job is stored when this method returns.

        All tries use the same idempotency key (a new one by default), so a lost answer never leads to a second job. The
        server names unknown fields in `warnings` of the answer. With `strict` it refuses them.

        Raises:
            InvalidRequest: the spec is invalid; `problem.errors` names every fault.
            IdempotencyMismatch: the key was used for another spec.
            ConnectionFailed: it is unknown whether the job was stored; submit it again with the same key.
        """
        return await self._link.send(api_calls.submit(spec, fields, idempotency_key, strict=strict))

    async def submit_many(
        self, specs: Sequence[JsonObject], *, idempotency_key: str | None = None, strict: bool = False
    ) -> Answers:
        """Submit any number of jobs in batches. Return an answer for each, in order; a refused job does not raise."""
        answers: Answers = []
        for call in api_calls.batches(specs, idempotency_key, strict=strict):
            part = await self._link.send(call)
            answers.extend(part)
        return answers

    async def get(self, job_id: str) -> models.Job:
        """Return a job.

        Raises:
            NotFound: there is no job with this id.
        """
        return await self._link.send(api_calls.get(job_id))

    def list(
        self, *, limit: int | None = None, page_size: int = 100, **filters: Unpack[api_calls.JobFilters]
    ) -> AsyncIterator[models.Job]:
        """Yield jobs, newest first, at most `limit`. `labels` is a Kubernetes label selector or a mapping.

        `reason` selects jobs that failed for this reason (with `state`: jobs in that state with this reason). `rerun_of`
        selects the reruns of a job. The server is asked when the first job is read.

        Raises:
            TypeError: there is no such filter.
        """
        api_calls.check_filters(filters)
        return self._list(filters, limit=limit, page_size=page_size)

    async def _list(
        self, filters: api_calls.JobFilters, *, limit: int | None, page_size: int
    ) -> AsyncIterator[models.Job]:
        left = sys.maxsize if limit is None else limit
        cursor: str | None = None
        while left > 0:
            page = api_calls.list_page(filters, limit=min(page_size, left), cursor=cursor)
            jobs, cursor = await self._link.send(page)
            for job in jobs[:left]:
                yield job
            left = left - len(jobs) if cursor else 0

    async def cancel(self, job_id: str, reason: str = "", *, grace_seconds: int | None = None) -> models.Job:
        """Cancel a job. Its state is `cancelled` only once nothing of it is running any more.

        `grace_seconds` is the time between SIGTERM and SIGKILL; 0 kills at once, None means the value of the spec.
        `cancel["outlook"]` of the answer says what happens next.

        Raises:
            Conflict: the job has ended already.
        """
        return await self._link.send(api_calls.cancel(job_id, reason, grace_seconds))

    async def rerun(
        self, job_id: str, changes: JsonObject | None = None, *, force: bool = False, idempotency_key: str | None = None
    ) -> models.Job:
        """Submit a new job with the spec of another one. `changes` are values by path, `{"resources.memory": "2Gi"}`.

        A value of None removes a field.

        Raises:
            Conflict: the job has not ended, and `force` is not set.
            InvalidRequest: a change is invalid, or the spec is no longer allowed.
        """
        return await self._link.send(api_calls.rerun(job_id, changes, idempotency_key, force=force))

    async def explain(self, job_id: str) -> models.Explanation:
        """Return what happened to a job, or why it still waits: one sentence, with the evidence."""
        return await self._link.send(api_calls.explanation(job_id))

    async def timeline(self, job_id: str) -> models.Timeline:
        """Return the phases of all attempts of a job, oldest first."""
        return await self._link.send(api_calls.timeline(job_id))

    async def simulate(
        self,
        policy: JsonObject,
        *,
        jobs: Sequence[str] = (),
        failures: Sequence[JsonObject] = (),
        memory: str | None = None,
    ) -> Simulations:
        """Return the decisions of a retry policy for past jobs, or for a series of failures. Nothing is run.

        A failure is `{"reason": "OutOfMemory"}`, with `exit_code`, `signal` and `cause` if they matter. `memory` is the
        memory of the first attempt in a series of failures.
        """
        call = api_calls.simulate(policy, jobs=jobs, failures=failures, memory=memory)
        return await self._link.send(call)

    async def transitions(self, job_id: str) -> Transitions:
        """Return the state changes of a job, oldest first."""
        return await self._link.send(api_calls.parts(job_id, "transitions", models.Transition))

    async def attempts(self, job_id: str) -> Attempts:
        """Return the attempts of a job, oldest first."""
        return await self._link.send(api_calls.parts(job_id, "attempts", models.Attempt))

    async def spec(self, job_id: str) -> dict[str, Any]:
        """Return the stored spec of a job."""
        return await self._link.send(api_calls.spec(job_id))

    async def version(self) -> dict[str, Any]:
        """Return the versions of the server and of its API."""
        return await self._link.send(api_calls.version())

    # --- waiting ---

    async def changes(self, job_id: str, *, timeout: float | None = None) -> AsyncIterator[models.Job]:
        """Yield the job now and after each change, until it has ended or `timeout` seconds have passed."""
        deadline = None if timeout is None else self._monotonic() + timeout
        job = await self._link.send(api_calls.get(job_id), patient=True)
        yield job
        while not job.terminal:
            wait = float(api_calls.LONG_POLL_SECONDS)
            if deadline is not None and (wait := min(wait, deadline - self._monotonic())) <= 0:
                return
            seen = await self._link.poll(job, wait)
            if seen.version != job.version:
                yield seen
            job = seen

    async def wait(self, job_id: str, *, timeout: float | None = None, check: bool = True) -> models.Job:
        """Return the job once it has ended. Lost connections do not end the wait.

        Raises:
            JobFailed, JobCancelled: it did not succeed; with `check=False` the record is returned instead.
            WaitTimeout: the job has not ended within `timeout` seconds.
        """
        async for job in self.changes(job_id, timeout=timeout):
            last = job
        if not last.terminal:
            raise errors.WaitTimeout(last, timeout or 0.0)
        return errors.checked(last, check=check)

    async def run(
        self,
        image: str,
        command: Sequence[str] = (),
        *,
        timeout: float | None = None,
        check: bool = True,
        **fields: Any,
    ) -> models.Job:
        """Submit a job and wait until it has ended. `fields` are those of `submit`."""
        job = await self.submit(image=image, command=[*command], **fields)
        return await self.wait(job.id, timeout=timeout, check=check)

    # --- logs ---

    def logs(self, job_id: str, *, follow: bool = False, **options: Unpack[LogOptions]) -> AsyncIterator[str]:
        """Yield the lines of a job's log: the last `tail` ones, or all. The default of `attempt` is the newest one.

        With `follow`, the method waits for the start of the job, continues through later attempts, reconnects after a lost
        connection, and ends only when the job (or the given attempt) has ended. `since` is a duration before now (`10m`) or
        an RFC 3339 time. `grep` is a text that the lines contain. `container` is another container of the pod.
        `timestamps` puts the time before each line.

        Raises:
            NotFound: there is no such job, or it has no log.
        """
        return following.read_lines(self.log_chunks(job_id, follow=follow, **options))

    def log_chunks(
        self, job_id: str, *, follow: bool = False, **options: Unpack[LogOptions]
    ) -> AsyncIterator[models.LogChunk]:
        """Yield the same log as `logs`, as raw bytes."""
        return following.read_chunks(self._link, job_id, LogCursor(**options), follow=follow)
