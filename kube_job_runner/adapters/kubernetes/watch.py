"""The watch of an informer: one connection after another, each from the last version that was read.

Whatever happens to a connection (silence, reset, a line cut off, a close without a word as the API server does to slow
watches in a burst), nothing is lost with it, because the next one begins where reading stopped. Only a 410, in either of
its forms, or answers that keep being no watch at all, need a new list.

Source: Kubernetes API concepts, "Efficient detection of changes" and "Watch bookmarks".
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncGenerator

import msgspec

from kube_job_runner.adapters.kubernetes import answers
from kube_job_runner.adapters.kubernetes.answers import Refused
from kube_job_runner.adapters.kubernetes.decode import Facts, Line
from kube_job_runner.adapters.kubernetes.event_buffer import Buffer
from kube_job_runner.adapters.kubernetes.watched_namespace import Expired, Rejected, Scope, rejected
from kube_job_runner.domain import backoff
from kube_job_runner.domain.errors import TemporaryError
from kube_job_runner.ports import WatchEvent

HEALTHY_SECONDS = 5.0
REJECTIONS_BEFORE_RELIST = 5
MOST_SECONDS_AFTER_PROGRESS = 1.0
LASTING_SHARES = (0.8, 1.0)
GATHER_SECONDS = 0.02  # how late an event may come for the sake of reading a rush at once
RUSH_LINES = 4  # lines read at once that say that a rush is on
RUSH_GATHER_SECONDS = 0.06
LINE_MAX_BYTES = 16 * 2**20  # the API server takes no object over 3 MiB; what is longer is not a line


async def watch_on(scope: Scope[Facts], buffer: Buffer[WatchEvent]) -> None:
    """Watch a namespace through any number of connections; return when only a new list can help."""
    stats, monotonic = scope.wiring.stats, scope.wiring.monotonic
    rejections = 0
    while not buffer.closed:
        since, before, least_seconds, why = monotonic(), scope.version, 0.0, "the server closed the watch"
        try:
            async with contextlib.aclosing(_connection(scope)) as connection:
                async for lines in connection:
                    if not await buffer.room():
                        return
                    _take(scope, lines, buffer)
        except Expired:
            stats.expired += 1
            return
        except Rejected as error:
            rejections, least_seconds, why = rejections + 1, error.delay_seconds, str(error)
        except TemporaryError as error:
            why = str(error)
            stats.silent += error.reason == "Silent"
        progressed, healthy = scope.version != before, monotonic() - since >= HEALTHY_SECONDS
        if progressed or healthy:
            rejections = 0
        if rejections >= REJECTIONS_BEFORE_RELIST:
            return
        if healthy:
            scope.backoff.reset()
        most_seconds = MOST_SECONDS_AFTER_PROGRESS if progressed else None
        await scope.pause(why, least_seconds=least_seconds, most_seconds=most_seconds)


async def _connection(scope: Scope[Facts]) -> AsyncGenerator[list[Line[Facts]]]:
    """Yield the lines of one watch connection, as many at a time as came together, until it is closed."""
    wiring = scope.wiring
    idle_seconds = wiring.tuning.idle_seconds
    # The server is to end the watch before its silence becomes suspect.
    lasting_seconds = max(1, int(backoff.spread(0.9 * idle_seconds, LASTING_SHARES)))
    target = scope.target(
        watch=1, allowWatchBookmarks="true", timeoutSeconds=lasting_seconds, resourceVersion=scope.version
    )
    action = f"watching {wiring.kind}s"
    wiring.stats.connections += 1
    try:
        async with wiring.client.stream(target, action=action, idle_seconds=idle_seconds) as stream:
            rest = b""
            while data := await stream.read(idle_seconds=idle_seconds):
                scope.heard()
                complete, newline, tail = data.rpartition(b"\n")
                if not newline:
                    rest += data
                    if len(rest) > LINE_MAX_BYTES:
                        raise Rejected(f"{action}: a line without end")
                    continue
                text, rest = rest + complete, tail
                lines, whole = _lines(scope, text)
                if lines:
                    yield lines
                if not whole:
                    return
                await stream.gather(GATHER_SECONDS if len(lines) < RUSH_LINES else RUSH_GATHER_SECONDS)
    except Refused as refused:
        if refused.answer.status == 410:
            raise Expired from None
        raise rejected(refused.answer, action=action) from None


def _lines(scope: Scope[Facts], text: bytes) -> tuple[list[Line[Facts]], bool]:
    """Return the lines up to the first that is not JSON, and whether that was all of them.

    What is lost with a garbled line comes again: the next connection begins before it.
    """
    stats, decoder = scope.wiring.stats, scope.wiring.decoder
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


def _take(scope: Scope[Facts], lines: list[Line[Facts]], buffer: Buffer[WatchEvent]) -> None:
    """Put what the lines tell into the buffer, and move on to their versions.

    Raises:
        Expired, Rejected: the server ended the watch with an ERROR line.
    """
    for line in lines:
        if line.type == "ERROR":
            raise _ended(line.status or answers.Status())
        scope.version = line.resource_version or scope.version
        if line.item is not None:
            buffer.put(scope.known.seen(line.item))
        elif line.type == "BOOKMARK":
            scope.known.heard(line.resource_version)
        else:
            scope.wiring.stats.unknown_lines += 1


def _ended(status: answers.Status) -> Expired | Rejected:
    if status.code == 410 or status.reason in ("Expired", "Gone"):
        return Expired()
    return Rejected(f"the server ended the watch: {status.message or status.reason or status.code}")
