"""One kind in one namespace that an informer watches: its requests, its known objects, and the pauses between tries."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import Generic, Literal
from urllib.parse import quote

import msgspec

from kube_job_runner.adapters.kubernetes import answers, api_paths, decode
from kube_job_runner.adapters.kubernetes.answers import Answer
from kube_job_runner.adapters.kubernetes.client import Client
from kube_job_runner.adapters.kubernetes.decode import Decoder, Facts
from kube_job_runner.adapters.kubernetes.known_objects import KnownEvents, KnownObjects, Memory
from kube_job_runner.domain.backoff import Backoff
from kube_job_runner.domain.facts import EventFacts, JobFacts, PodFacts
from kube_job_runner.domain.freshness import EVERYWHERE, WatchTimes
from kube_job_runner.ports import ClusterIdentity, SeenEvent, SeenJob, SeenPod
from kube_job_runner.telemetry import loggers, metrics

Kind = Literal["job", "pod", "event"]
NOTABLE_SECONDS = 5.0
"""A retry that is this far off is logged as a warning: the server refuses us, or is unreachable."""

_log = loggers.get_logger(__name__)


class WatchedKind(msgspec.Struct, Generic[Facts], frozen=True, kw_only=True):
    """One kind. `path` returns the path of its lists in a namespace, or in all of them (None).

    `field_selector` takes the place of our labels for a kind whose objects do not carry them.
    """

    name: Kind
    path: Callable[[str | None], str]
    decoder: Decoder[Facts]
    remember: Callable[[Callable[[], datetime]], Memory[Facts]]
    """Returns an empty memory; its argument is the clock."""
    field_selector: str = ""


JOBS: WatchedKind[JobFacts] = WatchedKind(
    name="job",
    path=api_paths.jobs,
    decoder=decode.JOBS,
    remember=lambda _now: KnownObjects(lambda job_id, n, facts: SeenJob(job_id=job_id, attempt=n, facts=facts)),
)
PODS: WatchedKind[PodFacts] = WatchedKind(
    name="pod",
    path=api_paths.pods,
    decoder=decode.PODS,
    remember=lambda _now: KnownObjects(lambda job_id, n, facts: SeenPod(job_id=job_id, attempt=n, facts=facts)),
)
# Events do not carry the labels of their object. The name of the object names the attempt.
EVENTS: WatchedKind[EventFacts] = WatchedKind(
    name="event",
    path=api_paths.events,
    decoder=decode.EVENTS,
    remember=lambda now: KnownEvents(
        lambda job_id, n, facts: SeenEvent(job_id=job_id, attempt=n, facts=facts), now=now
    ),
    field_selector="type=Warning",
)


class Expired(Exception):
    """410: the version that was asked for is no longer in the server's history."""


class Rejected(Exception):
    """The server answered with an error, or with something that cannot be read."""

    def __init__(self, text: str, *, delay_seconds: float = 0.0) -> None:
        super().__init__(text)
        self.delay_seconds = delay_seconds


class Tuning(msgspec.Struct, frozen=True, kw_only=True):
    """The informer's times in seconds, and the objects of one page. Tests make them small."""

    idle_seconds: float
    relist_seconds: float
    first_delay_seconds: float = 0.05
    max_delay_seconds: float = 10.0
    page_limit: int = 500


class WatchStats(msgspec.Struct):
    """Counts of what happened to the watches of one kind, for tests. Times are monotonic seconds, 0 before the first."""

    last_heard_at: float = 0.0
    listed_at: float = 0.0
    lists: int = 0
    connections: int = 0
    silent: int = 0
    expired: int = 0
    bad_lines: int = 0
    unknown_lines: int = 0
    stale_lists: int = 0
    times: dict[str, WatchTimes] = msgspec.field(default_factory=dict)
    """By namespace, "*" for all."""
    crashes: int = 0
    last_error: str = ""
    troubles: dict[str, str] = {}
    """Why a namespace ("*": all of them) cannot be listed now."""


class WatchContext(msgspec.Struct, Generic[Facts], frozen=True, kw_only=True):
    """What all watched namespaces of one informer share. `label_selector` selects our objects."""

    client: Client
    kind: WatchedKind[Facts]
    label_selector: str
    tuning: Tuning
    stats: WatchStats
    identify: Callable[[], Awaitable[ClusterIdentity | None]]
    now: Callable[[], datetime]
    monotonic: Callable[[], float]
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep


class WatchedNamespace(Generic[Facts]):
    """One namespace (None: all of them) of one kind."""

    def __init__(self, context: WatchContext[Facts], namespace: str | None) -> None:
        kind, tuning = context.kind, context.tuning
        self.context: WatchContext[Facts] = context
        self.namespace = namespace
        self.known: Memory[Facts] = kind.remember(context.now)
        self.version = ""
        """Where the next watch begins: the last resource version that was read."""
        self.stale_lists = 0
        self.cluster: ClusterIdentity | None = None
        """The cluster that was listed last."""
        self.retries = Backoff(first_seconds=tuning.first_delay_seconds, max_seconds=tuning.max_delay_seconds)
        name, selector = (
            ("fieldSelector", kind.field_selector) if kind.field_selector else ("labelSelector", context.label_selector)
        )
        self._url = f"{kind.path(namespace)}?{name}={quote(selector, safe='')}"

    def target(self, **query: str | int) -> str:
        """Return the path and query of a request with these parameters, encoded."""
        return self._url + "".join(f"&{name}={quote(str(value), safe='')}" for name, value in query.items() if value)

    def heard(self) -> None:
        """Note that the server sent anything at all."""
        self.context.stats.last_heard_at = self.context.monotonic()
        metrics.watch_heard.beat(self.context.kind.name)

    @property
    def times(self) -> WatchTimes:
        """When this namespace was watched. A later watch of the same process goes on with it."""
        return self.context.stats.times.setdefault(self.namespace or EVERYWHERE, WatchTimes())

    def current(self) -> None:
        """Note that everything up to now was read."""
        self.times.current(self.context.monotonic())

    def troubled(self, why: str | None) -> None:
        """Note why the namespace cannot be listed, or, with None, that it can."""
        name = self.namespace or "*"
        if why is None:
            self.context.stats.troubles.pop(name, None)
        else:
            self.context.stats.troubles[name] = why
        metrics.namespaces_unlisted.labels(self.context.kind.name, name).set(why is not None)

    async def pause(self, why: str, *, min_seconds: float = 0.0, max_seconds: float | None = None) -> None:
        """Wait before the next try: the backoff, within these bounds."""
        delay_seconds = self.retries.next()
        if max_seconds is not None:
            delay_seconds = min(delay_seconds, max_seconds)
        delay_seconds = max(delay_seconds, min_seconds)
        self.context.stats.last_error = why
        metrics.watch_retries.labels(self.context.kind.name).inc()
        _log.log(
            logging.WARNING if delay_seconds >= NOTABLE_SECONDS else logging.INFO,
            "list or watch failed; retrying",
            action="watch.retry",
            kind=self.context.kind.name,
            namespace=self.namespace,
            why=why,
            delay_seconds=round(delay_seconds, 3),
        )
        await self.context.sleep(delay_seconds)


def rejected(answer: Answer, *, action: str) -> Rejected:
    """Return the exception for an answer that is not a success."""
    error = answers.as_temporary(answers.refusal(answer, action=action))
    return Rejected(str(error), delay_seconds=getattr(error, "delay_seconds", 0.0))
