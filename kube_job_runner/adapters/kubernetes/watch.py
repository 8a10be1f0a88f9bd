"""Watches a namespace over one connection after another, each from the last version that was read.

A connection may fall silent, be reset, break within a line, or be closed without an error, as the API server does to slow
watches under load. Nothing is lost with it, because the next connection begins where reading stopped. A new list is needed
only after a 410, in either of its forms, or if the answers are repeatedly not a watch.

Source: Kubernetes API concepts, "Efficient detection of changes" and "Watch bookmarks".
"""

import contextlib
from collections.abc import AsyncGenerator

import msgspec

from kube_job_runner.adapters.kubernetes import answers
from kube_job_runner.adapters.kubernetes.answers import Refused
from kube_job_runner.adapters.kubernetes.decode import Facts, Line
from kube_job_runner.adapters.kubernetes.event_buffer import Buffer
from kube_job_runner.adapters.kubernetes.watched_namespace import Expired, Rejected, WatchedNamespace, rejected
from kube_job_runner.domain import backoff
from kube_job_runner.domain.errors import TemporaryError
from kube_job_runner.domain.failures import refusals
from kube_job_runner.ports import WatchEvent

HEALTHY_SECONDS = 5.0
REJECTIONS_BEFORE_RELIST = 5
MAX_SECONDS_AFTER_PROGRESS = 1.0
LASTING_SHARES = (0.8, 1.0)
GATHER_SECONDS = 0.02  # lines are collected for this time and read together, so a line may be this late
LOADED_LINES = 4  # under load, at least this many lines are read together
LOADED_GATHER_SECONDS = 0.06
_CLOSED = "the server closed the watch"
LINE_MAX_BYTES = 16 * 2**20  # the API server takes no object over 3 MiB, so a longer text is not a line


async def watch_on(watched: WatchedNamespace[Facts], buffer: Buffer[WatchEvent]) -> None:
    """Watch a namespace over any number of connections; return when only a new list can help."""
    stats, monotonic = watched.context.stats, watched.context.monotonic
    rejections = 0
    while not buffer.closed:
        since, before, min_seconds, why = monotonic(), watched.version, 0.0, _CLOSED
        try:
            async with contextlib.aclosing(_connection(watched)) as connection:
                async for lines in connection:
                    if not await buffer.room():
                        return
                    _take(watched, lines, buffer)
                    watched.current()
        except Expired:
            watched.times.interrupted()
            stats.expired += 1
            return
        except Rejected as error:
            rejections, min_seconds, why = rejections + 1, error.delay_seconds, str(error)
        except TemporaryError as error:
            why = str(error)
            stats.silent += error.reason == refusals.SILENT.reason
        progressed, healthy = watched.version != before, monotonic() - since >= HEALTHY_SECONDS
        if why == _CLOSED and (progressed or healthy):
            watched.current()  # the server ended the answer in order, so it had nothing more to say
        else:
            watched.times.interrupted()
        if progressed or healthy:
            rejections = 0
        if rejections >= REJECTIONS_BEFORE_RELIST:
            return
        if healthy:
            watched.retries.reset()
        max_seconds = MAX_SECONDS_AFTER_PROGRESS if progressed else None
        await watched.pause(why, min_seconds=min_seconds, max_seconds=max_seconds)


async def _connection(watched: WatchedNamespace[Facts]) -> AsyncGenerator[list[Line[Facts]]]:
    """Yield the lines of one connection until it is closed, as many at a time as arrived together."""
    context, kind = watched.context, watched.context.kind
    idle_seconds = context.tuning.idle_seconds
    # The server should end the watch before its silence would be taken for a lost connection.
    lasting_seconds = max(1, int(backoff.spread(0.9 * idle_seconds, LASTING_SHARES)))
    target = watched.target(
        watch=1, allowWatchBookmarks="true", timeoutSeconds=lasting_seconds, resourceVersion=watched.version
    )
    action = f"watching {kind.name}s"
    context.stats.connections += 1
    try:
        async with context.client.stream(target, action=action, idle_seconds=idle_seconds) as stream:
            watched.current()
            rest = b""
            while data := await stream.read(idle_seconds=idle_seconds):
                watched.heard()
                complete, newline, tail = data.rpartition(b"\n")
                if not newline:
                    rest += data
                    if len(rest) > LINE_MAX_BYTES:
                        raise Rejected(f"{action}: a line without end")
                    continue
                text, rest = rest + complete, tail
                lines, whole = _lines(watched, text)
                if lines:
                    yield lines
                if not whole:
                    return
                await stream.gather(GATHER_SECONDS if len(lines) < LOADED_LINES else LOADED_GATHER_SECONDS)
    except Refused as refused:
        if refused.answer.status == 410:
            raise Expired from None
        raise rejected(refused.answer, action=action) from None


def _lines(watched: WatchedNamespace[Facts], text: bytes) -> tuple[list[Line[Facts]], bool]:
    """Return the lines up to the first one that is not JSON, and whether these were all.

    Lines after a damaged one come again, because the next connection begins before it.
    """
    stats, decoder = watched.context.stats, watched.context.kind.decoder
    lines: list[Line[Facts]] = []
    for raw in text.split(b"\n"):
        if not raw:
            continue
        try:
            lines.append(decoder.line(raw))
        except msgspec.ValidationError:
            stats.unknown_lines += 1
        except (msgspec.DecodeError, ValueError, RecursionError):
            stats.bad_lines += 1
            return lines, False
    return lines, True


def _take(watched: WatchedNamespace[Facts], lines: list[Line[Facts]], buffer: Buffer[WatchEvent]) -> None:
    """Put the reports of the lines into the buffer, and advance to their versions.

    Raises:
        Expired, Rejected: the server ended the watch with an ERROR line.
    """
    for line in lines:
        if line.type == "ERROR":
            raise _ended(line.status or answers.Status())
        watched.version = line.resource_version or watched.version
        if line.item is not None:
            buffer.put(watched.known.seen(line.item))
        elif line.type == "BOOKMARK":
            watched.known.bookmark(line.resource_version)
        else:
            watched.context.stats.unknown_lines += 1


def _ended(status: answers.Status) -> Expired | Rejected:
    if status.code == 410 or status.reason in ("Expired", "Gone"):
        return Expired()
    return Rejected(f"the server ended the watch: {status.message or status.reason or status.code}")
