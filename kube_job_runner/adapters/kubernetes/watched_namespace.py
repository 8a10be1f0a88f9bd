"""One kind in one namespace, as an informer sees it: where it is, what is known of it, and the pace of its tries."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Generic, Literal
from urllib.parse import quote

import msgspec

from kube_job_runner.adapters.kubernetes import answers
from kube_job_runner.adapters.kubernetes.answers import Answer
from kube_job_runner.adapters.kubernetes.client import Client
from kube_job_runner.adapters.kubernetes.decode import Decoder, Facts
from kube_job_runner.adapters.kubernetes.known_objects import Memory
from kube_job_runner.domain.backoff import Backoff
from kube_job_runner.telemetry import loggers, metrics

Kind = Literal["job", "pod", "event"]

NOTABLE_SECONDS = 5.0
"""A retry this far off is told as a warning: the server refuses us, or is away."""

_log = loggers.get_logger(__name__)


class Expired(Exception):
    """410: what was asked for is no longer in the server's history."""


class Rejected(Exception):
    """The server answered, but not with what was asked for."""

    def __init__(self, text: str, *, delay_seconds: float = 0.0) -> None:
        super().__init__(text)
        self.delay_seconds = delay_seconds


class Tuning(msgspec.Struct, frozen=True, kw_only=True):
    """The informer's times in seconds, and the objects of one page; tests make them small."""

    idle_seconds: float
    relist_seconds: float
    first_delay_seconds: float = 0.05
    most_delay_seconds: float = 10.0
    page_limit: int = 500


class WatchStats(msgspec.Struct):
    """What the watches of one kind went through, for metrics and tests. Times are monotonic seconds, 0 before the first."""

    last_heard_at: float = 0.0
    listed_at: float = 0.0
    lists: int = 0
    connections: int = 0
    silent: int = 0
    expired: int = 0
    bad_lines: int = 0
    unknown_lines: int = 0
    stale_lists: int = 0
    crashes: int = 0
    last_error: str = ""
    troubles: dict[str, str] = {}
    """Why a namespace ("*": all of them) cannot be listed now."""


class Wiring(msgspec.Struct, Generic[Facts], frozen=True, kw_only=True):
    """What all scopes of one informer share."""

    client: Client
    decoder: Decoder[Facts]
    remember: Callable[[], Memory[Facts]]
    kind: Kind
    selector: str
    """The parameter of lists and watches that leaves out what is not ours, encoded: `labelSelector=...`."""
    tuning: Tuning
    stats: WatchStats
    monotonic: Callable[[], float]
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep


class Scope(Generic[Facts]):
    """One namespace (None: all of them) of one kind."""

    def __init__(self, wiring: Wiring[Facts], *, namespace: str | None, path: str) -> None:
        tuning = wiring.tuning
        self.wiring: Wiring[Facts] = wiring
        self.namespace = namespace
        self.known: Memory[Facts] = wiring.remember()
        self.version = ""
        """Where the next watch begins: the last resource version that was read."""
        self.stale_lists = 0
        self.backoff = Backoff(first_seconds=tuning.first_delay_seconds, max_seconds=tuning.most_delay_seconds)
        self._url = f"{path}?{wiring.selector}"

    def target(self, **query: str | int) -> str:
        """Return the request target with these parameters, encoded."""
        return self._url + "".join(f"&{name}={quote(str(value), safe='')}" for name, value in query.items() if value)

    def heard(self) -> None:
        """Take note that the server said anything at all."""
        self.wiring.stats.last_heard_at = self.wiring.monotonic()
        metrics.watch_heard.beat(self.wiring.kind)

    def troubled(self, why: str | None) -> None:
        """Take note that the namespace cannot be listed, and why; or, with None, that it can."""
        name = self.namespace or "*"
        if why is None:
            self.wiring.stats.troubles.pop(name, None)
        else:
            self.wiring.stats.troubles[name] = why
        metrics.namespaces_unlisted.labels(self.wiring.kind, name).set(why is not None)

    async def pause(self, why: str, *, least_seconds: float = 0.0, most_seconds: float | None = None) -> None:
        """Wait before the next try: the backoff, within bounds."""
        delay_seconds = self.backoff.next()
        if most_seconds is not None:
            delay_seconds = min(delay_seconds, most_seconds)
        delay_seconds = max(delay_seconds, least_seconds)
        self.wiring.stats.last_error = why
        metrics.watch_retries.labels(self.wiring.kind).inc()
        _log.log(
            logging.WARNING if delay_seconds >= NOTABLE_SECONDS else logging.INFO,
            "watch_retry",
            kind=self.wiring.kind,
            namespace=self.namespace,
            why=why,
            delay_seconds=round(delay_seconds, 3),
        )
        await self.wiring.sleep(delay_seconds)


def rejected(answer: Answer, *, action: str) -> Rejected:
    """Return the exception for an answer that is not a success."""
    error = answers.as_temporary(answers.refusal(answer, action=action))
    return Rejected(str(error), delay_seconds=getattr(error, "delay_seconds", 0.0))
