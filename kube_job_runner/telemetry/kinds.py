"""Metric kinds: bounded labels, heartbeats, and the gauges of the queue's depth."""

import time
from collections.abc import Callable, Iterable, Mapping
from typing import Protocol

from prometheus_client import Gauge
from prometheus_client.core import GaugeMetricFamily, Metric

OTHER = "other"


class Bounded:
    """Bounds the values of a label: those that were kept, and the first others. Every later value becomes `other`."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._known: set[str] = set()

    def keep(self, values: Iterable[str]) -> None:
        """Reserve these values, so that they never become `other`."""
        self._known.update(values)

    def __call__(self, value: str) -> str:
        if value in self._known:
            return value
        if len(self._known) >= self._limit or not value or len(value) > 63:
            return OTHER
        self._known.add(value)
        return value


class Heartbeats:
    """The last time of something that must happen again and again, by name: for a gauge, and for readiness."""

    def __init__(self, gauge: Gauge) -> None:
        self._gauge = gauge
        self._last: dict[str, float] = {}

    def beat(self, name: str, at: float | None = None) -> None:
        """Note that it happened now, or at this UNIX time."""
        self._last[name] = at = time.time() if at is None else at
        self._gauge.labels(name).set(at)

    def last(self, name: str) -> float:
        """Return the UNIX time of the last beat, or 0 before the first."""
        return self._last.get(name, 0.0)


class Depth(Protocol):
    """A measurement of the whole installation: `ports.QueueDepth`, which this module must not import."""

    @property
    def jobs_by_state(self) -> Mapping[str, int]: ...
    @property
    def jobs_by_queue(self) -> Mapping[tuple[str, str], int]: ...
    @property
    def messages(self) -> int: ...
    @property
    def oldest_message_seconds(self) -> float: ...
    @property
    def outbox_oldest_seconds(self) -> float: ...
    @property
    def dead_letters(self) -> int: ...


DEPTH_SECONDS = 60.0
"""Older figures are not shown: when another process takes the lease, this one stops measuring."""


class DepthFigures:
    """Gauges of the last measurement. They disappear when this process no longer measures."""

    def __init__(self, queue_label: Bounded, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._queue_label = queue_label
        self._monotonic = monotonic
        self._depth: Depth | None = None
        self._at = 0.0

    def set(self, depth: Depth) -> None:
        self._depth, self._at = depth, self._monotonic()

    def clear(self) -> None:
        """Show nothing, because another process measures now."""
        self._depth = None

    def describe(self) -> list[Metric]:
        """Return the metrics without values, for the registry."""
        return list(_depth_families().values())

    def collect(self) -> list[Metric]:
        """Return the metrics, or none if they are too old."""
        depth = self._depth
        if depth is None or self._monotonic() - self._at > DEPTH_SECONDS:
            return []
        found = _depth_families()
        for state, count in depth.jobs_by_state.items():
            found["kjr_jobs"].add_metric([state], count)
        for (queue, state), count in self._bounded(depth.jobs_by_queue).items():
            found["kjr_queue_jobs"].add_metric([queue, state], count)
        found["kjr_queue_messages"].add_metric([], depth.messages)
        found["kjr_queue_oldest_seconds"].add_metric([], depth.oldest_message_seconds)
        found["kjr_outbox_oldest_seconds"].add_metric([], depth.outbox_oldest_seconds)
        found["kjr_dead_letters"].add_metric([], depth.dead_letters)
        return list(found.values())

    def _bounded(self, jobs: Mapping[tuple[str, str], int]) -> dict[tuple[str, str], int]:
        bounded: dict[tuple[str, str], int] = {}
        for (queue, state), count in sorted(jobs.items(), key=lambda entry: -entry[1]):
            key = (self._queue_label(queue), state)
            bounded[key] = bounded.get(key, 0) + count
        return bounded


def _depth_families() -> dict[str, GaugeMetricFamily]:
    families = (
        GaugeMetricFamily("kjr_jobs", "Jobs by state. Ended jobs are counted by the last ANALYZE.", labels=["state"]),
        GaugeMetricFamily("kjr_queue_jobs", "Jobs that have not ended, by queue and state.", labels=["queue", "state"]),
        GaugeMetricFamily("kjr_queue_messages", "Messages on the queue.", labels=[]),
        GaugeMetricFamily("kjr_queue_oldest_seconds", "Age of the oldest message that may be received now.", labels=[]),
        GaugeMetricFamily(
            "kjr_outbox_oldest_seconds", "Age of the oldest message in the outbox that is due.", labels=[]
        ),
        GaugeMetricFamily(
            "kjr_dead_letters", "Dead letters: messages that failed too often or can never be handled.", labels=[]
        ),
    )
    return {family.name: family for family in families}
