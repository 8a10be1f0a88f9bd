"""Reads and follows the log of a job. `LogCursor` holds the state; this module does the I/O."""

from collections.abc import AsyncIterator

import httpx2

from kube_job_runner.client import api_calls, errors, models
from kube_job_runner.client.aio.link import AsyncLink
from kube_job_runner.client.log_cursor import LineSplitter, LogCursor
from kube_job_runner.client.retry import Tries


async def read_chunks(
    link: AsyncLink, job_id: str, cursor: LogCursor, *, follow: bool
) -> AsyncIterator[models.LogChunk]:
    """Yield the log of a job as raw bytes. With `follow`, end only when the job (or the attempt asked for) has ended.

    Raises:
        NotFound: there is no such job, or it has no log.
    """
    attempts = link.settings.tries(patient=follow)
    job = await link.send(api_calls.get(job_id))
    while True:
        step = cursor.step(job)
        if step == "end":
            cursor.check()
            return
        if step == "wait" and follow:
            job = await link.poll(job, api_calls.LONG_POLL_SECONDS)
            continue
        over = cursor.over(job)
        async for chunk in _read_stream(link, job_id, cursor, attempts, follow=follow and not over):
            yield chunk
        if not follow and cursor.answered:
            cursor.check()
            return
        if not over:
            job = await _settle(link, job, cursor)


async def read_lines(chunks: AsyncIterator[models.LogChunk]) -> AsyncIterator[str]:
    """Yield the lines of a log."""
    lines = LineSplitter()
    async for chunk in chunks:
        for line in lines.feed(chunk):
            yield line
    for line in lines.flush():
        yield line


async def _read_stream(
    link: AsyncLink, job_id: str, cursor: LogCursor, attempts: Tries, *, follow: bool
) -> AsyncIterator[models.LogChunk]:
    """Read one stream until it ends, fails, or turns out not to exist. After a failure, wait before the next try."""
    call = api_calls.logs(job_id, follow=follow, attempt=cursor.attempt or None, params=cursor.open())
    try:
        async with link.stream(call) as answer:
            if answer.status_code == 200:
                cursor.begin(answer.headers.get("content-type", ""))
                async for data in answer.aiter_bytes():
                    attempts.reset()
                    chunk = cursor.feed(data)
                    if chunk is not None:
                        yield chunk
                cursor.close()
                return
            await answer.aread()
            delay = attempts.after_answer(answer)
    except httpx2.ReadTimeout as fault:
        # A log may be silent for hours. The job's record is read next; that shows whether the server is still reachable.
        delay = 0.0 if follow else attempts.after_fault(fault)
    except httpx2.HTTPError as fault:
        delay = attempts.after_fault(fault)
    except (errors.NotFound, errors.Conflict) as error:
        cursor.missing(error, final=not follow)
        return
    await link.sleep(delay)


async def _settle(link: AsyncLink, job: models.Job, cursor: LogCursor) -> models.Job:
    """Return the job once its record shows the end of the attempt, or once the log must be read again."""
    if not cursor.replied:
        return await link.send(api_calls.get(job.id), patient=True)
    monotonic = link.settings.monotonic
    deadline = monotonic() + cursor.patience_seconds
    while not cursor.over(job):
        left = deadline - monotonic()
        if left <= 0:
            break
        job = await link.poll(job, left)
        if not cursor.complete:
            break
    return job
