"""Turns the events of a watch into batches of `Observed` messages. It reports facts and does not interpret them.

Each list is compared with the cluster jobs that the store knows, so a cluster job that vanished while nobody watched is
noticed. The store is read before the list begins. A cluster job that the store has and a complete list lacks is gone.
"""

import asyncio
import contextlib
from collections import OrderedDict
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from datetime import datetime
from typing import Literal, TypeVar

import msgspec

from kube_job_runner import ports
from kube_job_runner.domain.backoff import Backoff
from kube_job_runner.domain.errors import LeaseLost, PermanentError, TemporaryError
from kube_job_runner.domain.facts import JobFacts, NodeFacts, PodFacts, join_pods, latest_at, merge_job
from kube_job_runner.domain.messages import Observed, Outgoing
from kube_job_runner.services import cluster_identity
from kube_job_runner.services.missing_jobs import MissingJobs
from kube_job_runner.services.missing_pods import KnownPods, MissingPods
from kube_job_runner.services.watch_reports import Times, WatchReporter
from kube_job_runner.telemetry import loggers, metrics

log = loggers.get_logger(__name__)

FLUSH_MESSAGES = 500
FLUSH_SECONDS = 0.01
PACE_SECONDS = 0.1
LOADED_MESSAGES = 8  # messages in a batch that say that more are on their way
LOADED_PACE_SECONDS = 0.3
BUFFERED_MESSAGES = 20_000
_LAST_SEND_SECONDS = 5.0
_RETRY_SECONDS = 0.1
_RETRY_MAX_SECONDS = 5.0
_NODE_FRESH_SECONDS = 10.0
_PODS_REMEMBERED = 10_000

Report = Callable[[tuple[str, Observed]], Awaitable[None]]
Kind = Literal["job", "pod", "event"]
_T = TypeVar("_T")


class Observer:
    """Forwards what one watch yields. Two at once do no harm, because facts are merged."""

    def __init__(
        self,
        *,
        kind: Kind,
        events: AsyncIterator[ports.WatchEvent],
        store: ports.ObserveStore,
        queue: ports.Sender,
        clock: ports.Clock,
        nodes: ports.NodeReader | None = None,
        times: Times | None = None,
        known_pods: KnownPods | None = None,
        finder: ports.ClusterInventory | None = None,
    ) -> None:
        self._finder = finder
        self._known_pods = known_pods
        self._missing_pods = MissingPods()
        self._kind = kind
        self._reporter = WatchReporter(kind, times or dict, store=store, clock=clock)
        self._nodes = NodeEvidence(nodes, clock) if nodes is not None else None
        self._events = events
        self._store = store
        self._queue = queue
        self._clock = clock
        self._pending: asyncio.Queue[tuple[str, Observed]] = asyncio.Queue(maxsize=BUFFERED_MESSAGES)
        self._batch: dict[str, Observed] = {}
        self._missing = MissingJobs()
        self._listed_from: datetime | None = None
        self._shown: set[str] = set()
        metrics.watch_buffered.labels(kind).set_function(self._pending.qsize)

    async def run(self) -> None:
        """Forward until cancelled. What was read by then is sent first.

        Raises:
            WrongCluster: the list came from another cluster than the one that the database belongs to.
            LeaseLost: another process watches now.
            TemporaryError: a list was wrong; the watch must begin again.
        """
        sender = asyncio.create_task(self._send_forever())
        reader = asyncio.create_task(self._read())
        reporter = asyncio.create_task(self._reporter.run())
        try:
            done, _ = await asyncio.wait({sender, reader, reporter}, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        finally:
            await _stop(reader)
            await _stop(sender)
            await _stop(reporter)
            if self._nodes is not None:
                self._nodes.close()
            await self._flush_rest()
            with contextlib.suppress(KeyError):  # a standby has no watch, so there is no age to show
                metrics.watch_last_event.remove(self._kind)

    async def _read(self) -> None:
        async for event in self._events:
            metrics.watch_heard.beat(self._kind, self._clock.now().timestamp())
            if isinstance(event, ports.Relisting):
                await self._begin_list()
            elif isinstance(event, ports.Listed):
                await self._end_list(event)
            else:
                if isinstance(event, ports.SeenJob):
                    if event.facts.gone and event.facts.uid in self._missing:
                        continue  # only a list says so, and it is not complete: `_end_list` decides
                    self._missing.shown(event.facts.uid)
                self._missing_pods.shown(event.facts.uid)
                self._measure_lag(event)
                first = not isinstance(event, ports.SeenEvent) and event.facts.uid not in self._shown
                self._shown.add(event.facts.uid)
                message = Observed(job_id=event.job_id, attempt=event.attempt, seen=event.facts, listed=first)
                await self._put((event.facts.uid, message))
                if self._nodes is not None and isinstance(event, ports.SeenPod):
                    self._nodes.look(event, self._put)

    async def _put(self, report: tuple[str, Observed]) -> None:
        self._reporter.read()
        await self._pending.put(report)

    def _measure_lag(self, event: ports.SeenJob | ports.SeenPod | ports.SeenEvent) -> None:
        happened_at = latest_at(event.facts)
        if happened_at is not None and self._listed_from is not None and happened_at >= self._listed_from:
            # Older changes were reported by a list, not by the watch.
            lag_seconds = (self._clock.now() - happened_at).total_seconds()
            metrics.watch_lag_seconds.labels(self._kind).observe(max(0.0, lag_seconds))

    async def _check_cluster(self, found: ports.ClusterIdentity) -> None:
        async def bind() -> list[ports.ClusterIdentity]:
            return await self._store.bind_cluster(found)

        cluster_identity.compare(found, await _persistently(bind, what="reading the cluster of the database"))

    async def _begin_list(self) -> None:
        self._listed_from = self._clock.now()
        self._shown = set()
        metrics.watch_relists.labels(self._kind).inc()
        self._missing = MissingJobs()
        if self._kind == "job":
            known = await _persistently(self._store.known_cluster_jobs, what="reading what the store knows")
            self._missing = MissingJobs(known)
        if self._known_pods is not None:
            self._missing_pods = MissingPods(await _persistently(self._known_pods, what="reading the known pods"))

    async def _end_list(self, listed: ports.Listed) -> None:
        """Report as gone what the list of a namespace should have held. Other namespaces are not touched."""
        if listed.cluster is not None:
            await self._check_cluster(listed.cluster)
        for entry in await self._missing.after(listed.namespace, self._find if self._finder is not None else None):
            log.info("a cluster job is gone", action="job.observe", job_id=str(entry.job_id), attempt=entry.attempt)
            facts = JobFacts(uid=entry.cluster_uid, gone=True)
            message = Observed(job_id=entry.job_id, attempt=entry.attempt, seen=facts)
            await self._put((entry.cluster_uid, message))
        for uid, message in self._missing_pods.after(listed.namespace):
            log.info("a pod is gone", action="pod.observe", job_id=str(message.job_id), attempt=message.attempt)
            await self._put((uid, message))

    async def _find(self, entry: ports.KnownClusterJob) -> JobFacts | None:
        async def find() -> JobFacts | None:
            assert self._finder is not None
            return await self._finder.find(entry.namespace, entry.cluster_name, cluster_uid=entry.cluster_uid)

        return await _persistently(find, what="reading a cluster job that a list lacks")

    async def _send_forever(self) -> None:
        pace_seconds = PACE_SECONDS
        sent_at = self._clock.monotonic() - pace_seconds
        while True:
            self._take(*await self._pending.get())
            taken = 1
            if self._pending.qsize() < FLUSH_MESSAGES:
                # After a quiet time an observation is sent almost at once. Under load observations are batched: a batch costs
                # the queue and its readers little more than one message, and only the newest facts of an object count.
                since_seconds = self._clock.monotonic() - sent_at
                await asyncio.sleep(max(FLUSH_SECONDS, pace_seconds - since_seconds))
            while len(self._batch) < FLUSH_MESSAGES and not self._pending.empty():
                self._take(*self._pending.get_nowait())
                taken += 1
            batch, self._batch = list(self._batch.values()), {}
            pace_seconds = PACE_SECONDS if len(batch) < LOADED_MESSAGES else LOADED_PACE_SECONDS
            sent_at = self._clock.monotonic()
            await self._send(batch)
            self._reporter.sent(taken)

    def _take(self, uid: str, message: Observed) -> None:
        """Put a message into the batch, joined with what the older facts of the same object say. That it was listed is kept."""
        before = self._batch.get(uid)
        joined = _joined(before, message)
        listed = joined.listed or (before is not None and before.listed)
        self._batch[uid] = joined if joined.listed == listed else msgspec.structs.replace(joined, listed=listed)

    async def _send(self, batch: Sequence[Observed]) -> None:
        async def send() -> None:
            try:
                await self._queue.send([Outgoing(message=message) for message in batch])
            except PermanentError as error:
                # One message is too large. All others are sent. Its job is decided without these facts.
                log.error("an observation was not sent", action="observe.send", kind=self._kind, error=str(error))

        # A batch that left the buffer is sent even when the process stops meanwhile, within a bound.
        sending = asyncio.ensure_future(_persistently(send, what="sending observations"))
        try:
            with metrics.observation_send_seconds.labels(self._kind).time():
                await asyncio.shield(sending)
        except asyncio.CancelledError:
            await asyncio.wait({sending}, timeout=_LAST_SEND_SECONDS)
            await _stop(sending)
            raise
        metrics.observations.labels(self._kind).inc(len(batch))

    async def _flush_rest(self) -> None:
        while not self._pending.empty():
            self._take(*self._pending.get_nowait())
        if self._batch:
            with contextlib.suppress(TemporaryError, LeaseLost):
                await self._queue.send([Outgoing(message=message) for message in self._batch.values()])


def _joined(older: Observed | None, newer: Observed) -> Observed:
    """Return one message for two observations of an object: the newer facts may leave out what the older ones show."""
    if older is None or (older.job_id, older.attempt) != (newer.job_id, newer.attempt):
        return newer
    before, now = older.seen, newer.seen
    if isinstance(before, JobFacts) and isinstance(now, JobFacts):
        return msgspec.structs.replace(newer, seen=merge_job(before, now))
    if isinstance(before, PodFacts) and isinstance(now, PodFacts):
        return msgspec.structs.replace(newer, seen=join_pods(before, now))
    return newer


async def _persistently(call: Callable[[], Awaitable[_T]], *, what: str) -> _T:
    """Return the result of `call`, even after a long outage of the other side: an observation is never dropped."""
    retries = Backoff(first_seconds=_RETRY_SECONDS, max_seconds=_RETRY_MAX_SECONDS)
    while True:
        try:
            return await call()
        except TemporaryError as error:
            delay_seconds = retries.next()
            log.warning(
                "a watcher failed; retrying",
                action="observe.retry",
                what=what,
                error=str(error),
                delay_seconds=round(delay_seconds, 2),
            )
            await asyncio.sleep(delay_seconds)


async def _stop(task: asyncio.Future[None]) -> None:
    """Cancel a task and wait for it. `run` raised its error already, or the error comes too late to matter."""
    task.cancel()
    await asyncio.wait({task})
    if not task.cancelled():
        task.exception()


class NodeEvidence:
    """Reads the state of nodes in the background: at once, because the node of a disturbed pod may be gone soon.

    Pods that a node loses within seconds share one request; each pod is reported once.
    """

    def __init__(self, nodes: ports.NodeReader, clock: ports.Clock) -> None:
        self._nodes = nodes
        self._clock = clock
        self._reported: OrderedDict[str, None] = OrderedDict()
        self._looks: dict[str, tuple[float, asyncio.Future[NodeFacts | None]]] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    def look(self, seen: ports.SeenPod, report: Report) -> None:
        """Report the state of a pod's node, once, when something other than the pod's own program disturbed the pod."""
        pod = seen.facts
        if not pod.node or not pod.job_uid or pod.uid in self._reported or not disturbed(pod):
            return
        self._reported[pod.uid] = None
        if len(self._reported) > _PODS_REMEMBERED:
            self._reported.popitem(last=False)
        task = asyncio.create_task(self._report(seen, report))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def close(self) -> None:
        """Cancel what has not been read yet. It is evidence, so nothing depends on it."""
        for task in self._tasks:
            task.cancel()

    async def _report(self, seen: ports.SeenPod, report: Report) -> None:
        facts = await self._state(seen.facts.node)
        if facts is not None:
            await report((f"node of {seen.facts.uid}", Observed(job_id=seen.job_id, attempt=seen.attempt, seen=facts)))

    async def _state(self, name: str) -> NodeFacts | None:
        now = self._clock.monotonic()
        known = self._looks.get(name)
        if known is None or now - known[0] > _NODE_FRESH_SECONDS:
            self._looks = {node: look for node, look in self._looks.items() if now - look[0] <= _NODE_FRESH_SECONDS}
            known = (now, asyncio.ensure_future(self._read(name)))
            self._looks[name] = known
        return await asyncio.shield(known[1])

    async def _read(self, name: str) -> NodeFacts | None:
        try:
            conditions = await self._nodes.node_conditions(name)
        except TemporaryError:
            return None
        return None if conditions is None else NodeFacts(name=name, seen_at=self._clock.now(), conditions=conditions)


def disturbed(pod: PodFacts) -> bool:
    """Return whether the node or the cluster ended a pod, or is about to (pod status, DisruptionTarget, a lost container)."""
    if pod.phase == "Failed" and pod.reason:
        return True
    if any(condition.type == "DisruptionTarget" and condition.status == "True" for condition in pod.conditions):
        return True
    return any(container.reason == "ContainerStatusUnknown" for container in pod.containers)
