"""Reads the log of one container to its end, with retries, until it is complete or lost with a reason."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable

import msgspec

from kube_job_runner.domain import backoff
from kube_job_runner.domain.backoff import Backoff
from kube_job_runner.domain.errors import ClusterRefused, NotFound, TemporaryError
from kube_job_runner.domain.logs import containers
from kube_job_runner.ports import LogWork
from kube_job_runner.services.log_stream import LogStream, NodeSpoke
from kube_job_runner.telemetry import loggers

log = loggers.get_logger(__name__)


class CollectPace(msgspec.Struct, frozen=True, kw_only=True):
    """How the log-collector works: its lease, its snapshots at once, and the pauses of its loops."""

    lease_seconds: float = 30.0
    snapshots_max: int = 16
    poll_seconds: float = 1.0
    pace_seconds: float = 0.25
    first_flush_seconds: float = 0.1
    flush_seconds: float = 0.3
    quiet_flush_seconds: float = 2.0
    retry_seconds: float = 0.5
    retry_max_seconds: float = 10.0


_LOOK_SECONDS = 1.0
_NODE_ERRORS_MAX = 3  # in a row: a file that is just rotated is there at the next try


class Lost(msgspec.Struct, frozen=True):
    """Why a log, or its rest, is lost: a code for metrics, and a sentence."""

    code: str
    text: str


class WorkInHand:
    """The current state of an attempt, shared by all readers of its log. `changed` is set when its end or its facts change."""

    def __init__(self, work: LogWork) -> None:
        self.work = work
        self.changed = asyncio.Event()
        self.waiting = False
        """Whether a reader pauses before it asks again for an ended container."""

    def update(self, work: LogWork) -> None:
        before, self.work = self.work, work
        if (work.ended, work.stopping, work.facts) != (before.ended, before.stopping, before.facts):
            self.changed.set()

    async def wait_changed(self, *, seconds: float) -> None:
        """Wait for a change, at most this long."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self.changed.wait()


class ContainerReader:
    """Reads one container into its stream. `flush` stores what all streams of the attempt have read."""

    def __init__(
        self,
        stream: LogStream,
        in_hand: WorkInHand,
        *,
        deadline_seconds: float,
        pace: CollectPace,
        slots: asyncio.Semaphore,
        flush: Callable[[], Awaitable[None]],
    ) -> None:
        self._stream = stream
        self._in_hand = in_hand
        self._deadline_seconds = deadline_seconds
        self._slots = slots
        self._flush = flush
        self._retries = Backoff(
            first_seconds=pace.retry_seconds, max_seconds=pace.retry_max_seconds, over=backoff.EXACT
        )
        self._complete = False
        self._node_errors = 0

    async def run(self) -> Lost | None:
        """Read to the end; None when the log is complete."""
        await self._stream.restore()
        while True:
            work = self._in_hand.work
            over = work.ended or containers.has_ended(work.facts.newest_pod, self._stream.container)
            had_bytes = self._stream.read_bytes
            lost = None
            try:
                self._complete = await self._read(work, over=over)
            except NotFound as error:
                if self._complete:
                    return None  # its stream was complete before the pod disappeared
                lost = Lost("NotFound", f"{error} ({_why_missing(work)})")
            except NodeSpoke as error:
                if self._complete and over:
                    return None  # its stream was complete before the node lost it
                lost = self._lost_by_node(error)
            except ClusterRefused as error:
                lost = Lost("Forbidden", f"the cluster does not let us read it: {error}")
            except TemporaryError as error:
                self._complete = False
                if (too_late := self._too_late(work, error)) is not None:
                    return too_late
            else:
                self._node_errors = 0
                # A kubelet that fails within a file ends its answer as if it were complete. So a large log, which may
                # be rotated, is read until nothing more comes.
                unchanged = self._stream.read_bytes == had_bytes
                if over and self._complete and (unchanged or not self._stream.large):
                    return None
            if lost is not None and over:
                return lost
            if self._stream.read_bytes > had_bytes:
                self._retries.reset()
            await self._pause(self._retries.next(), over=over)

    def _lost_by_node(self, error: NodeSpoke) -> Lost | None:
        """Return the loss of a log that the node cannot read, or None to ask it once more."""
        self._node_errors += 1
        if self._node_errors < _NODE_ERRORS_MAX:
            return None
        return Lost("NodeError", f"the node answered with an error in the place of the log: {error}")

    def _too_late(self, work: LogWork, error: TemporaryError) -> Lost | None:
        """Return the loss of a log that could not be read within the deadline after the verdict, or None to retry."""
        if work.ended and work.decided_at is not None:
            waited_seconds = (work.now - work.decided_at).total_seconds()
            if waited_seconds >= self._deadline_seconds:
                return Lost("Deadline", f"not within {self._deadline_seconds:g} s: {error}")
        log.info(
            "log not read; retrying",
            action="log.read",
            pod=work.pod_name,
            container=self._stream.container,
            error=str(error),
        )
        return None

    async def _read(self, work: LogWork, *, over: bool) -> bool:
        """Read once; return whether the end was reached."""
        await self._flush()  # only stored lines are recognised when they come again
        if not work.pod_name:
            raise NotFound("its pod was never seen")
        started_at = containers.started_at(work.facts.newest_pod, self._stream.container)
        if over:
            async with self._slots:
                return await self._stream.read(work.pod_name, follow=False, now=work.now, started_at=started_at)
        following = self._stream.read(work.pod_name, follow=True, now=work.now, started_at=started_at)
        return await self._until_over(asyncio.create_task(following))

    async def _until_over(self, reading: asyncio.Task[bool]) -> bool:
        """Wait for a follow; leave it when the pod ends and this container has never started."""
        try:
            while not reading.done():
                changed = asyncio.create_task(self._in_hand.changed.wait())
                await asyncio.wait({reading, changed}, timeout=_LOOK_SECONDS, return_when=asyncio.FIRST_COMPLETED)
                changed.cancel()
                work = self._in_hand.work
                if work.ended and not containers.has_run(work.facts.newest_pod, self._stream.container):
                    return True
            return await reading
        finally:
            reading.cancel()
            await asyncio.wait({reading})
            if not reading.cancelled():
                reading.exception()  # raised above, or no longer relevant

    async def _pause(self, seconds: float, *, over: bool) -> None:
        """Wait before the next try; before the end, no longer than until the attempt changes."""
        if not over:
            await self._in_hand.wait_changed(seconds=seconds)
            return
        self._in_hand.waiting = True
        try:
            await asyncio.sleep(seconds)
        finally:
            self._in_hand.waiting = False


def _why_missing(work: LogWork) -> str:
    if work.lost_reason:
        return work.lost_reason
    pod = work.facts.newest_pod
    if pod is not None and pod.gone:
        return "the pod had left the cluster before its log was read"
    return "the log was not there when it was read"
