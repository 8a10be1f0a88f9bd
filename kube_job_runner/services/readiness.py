"""Readiness of a process, and the depth of the queue. The database is queried at most once a second, however many probes come."""

import asyncio
from collections.abc import Callable, Mapping

from kube_job_runner.domain.errors import KjrError, TemporaryError
from kube_job_runner.ports import Clock, Health
from kube_job_runner.telemetry import loggers, metrics
from kube_job_runner.telemetry.kinds import Heartbeats

CHECK_SECONDS = 1.0
WATCH_AGE_MAX_SECONDS = 600.0
"""A watch gets a bookmark each minute and is opened again after at most five minutes, so this much silence is a fault."""

ROUND_AGE_MAX_SECONDS = 300.0
"""A round is a batch, a sweep or a look for work. It takes seconds, or minutes while the API server hardly answers."""

Probe = Callable[[], str | None]
"""Returns what is wrong, or None. It must neither wait nor raise."""

log = loggers.get_logger(__name__)


class Readiness:
    """Whether this process can do its work: the store's checks, asked at most once a second, and probes of its own parts.

    With `advisory` the probes are shown but decide nothing: a process that also takes submits must take them while its
    watches are silent. `notes` are more lines to show, by name: for example, who leads.
    """

    def __init__(
        self,
        health: Health,
        clock: Clock,
        probes: Mapping[str, Probe] | None = None,
        *,
        notes: Callable[[], Mapping[str, str]] = dict[str, str],
        advisory: bool = False,
    ) -> None:
        self._health = health
        self._clock = clock
        self._probes = dict(probes or {})
        self._notes = notes
        self._advisory = frozenset(self._probes) if advisory else frozenset()
        self._checks: dict[str, str | None] = {}
        self._checked_at = float("-inf")
        self._lock = asyncio.Lock()
        self.stopping = False

    async def checks(self) -> dict[str, str | None]:
        """Return all checks by name: None when good, else what is wrong."""
        async with self._lock:
            if self._clock.monotonic() - self._checked_at >= CHECK_SECONDS:
                try:
                    self._checks = await self._health.check()
                except KjrError as error:
                    self._checks = {"database": str(error)}
                self._checked_at = self._clock.monotonic()
        stopping = {"draining": "the process is stopping" if self.stopping else None}
        found = {**stopping, **self._checks, **{name: probe() for name, probe in self._probes.items()}}
        for name, wrong in found.items():
            metrics.ready.labels(name).set(0 if wrong else 1)
        return found

    async def report(self) -> tuple[bool, str]:
        """Return whether all is well, and a line for each check and one for the whole, as kube-apiserver writes them."""
        checks = await self.checks()
        ready = not any(wrong for name, wrong in checks.items() if name not in self._advisory)
        lines = [self._line(name, wrong) for name, wrong in checks.items()]
        lines += [f"[i]{name} {said}" for name, said in self._notes().items()]
        lines.append("ready" if ready else "not ready")
        return ready, "".join(line + "\n" for line in lines)

    def _line(self, name: str, wrong: str | None) -> str:
        if wrong is None:
            return f"[+]{name} ok"
        return f"[!]{name} warning: {wrong}" if name in self._advisory else f"[-]{name} failed: {wrong}"


class Age:
    """A probe of something that must happen again and again: how long ago it last happened."""

    def __init__(self, beats: Heartbeats, name: str, clock: Clock, *, max_seconds: float, silence: str) -> None:
        self._beats = beats
        self._name = name
        self._clock = clock
        self._max_seconds = max_seconds
        self._silence = silence
        self._began = clock.now().timestamp()

    def __call__(self) -> str | None:
        """Return None, or a text when it has not happened for too long."""
        age_seconds = self._clock.now().timestamp() - max(self._beats.last(self._name), self._began)
        return None if age_seconds <= self._max_seconds else f"{self._silence} for {age_seconds:.0f} s"


def watch_age(kind: str, clock: Clock) -> Age:
    """Return the probe of a watch: how long ago its watcher last heard anything."""
    return Age(metrics.watch_heard, kind, clock, max_seconds=WATCH_AGE_MAX_SECONDS, silence="nothing heard")


def round_age(component: str, clock: Clock) -> Age:
    """Return the probe of a component's loop: how long ago a round last ended well."""
    return Age(metrics.round_ended, component, clock, max_seconds=ROUND_AGE_MAX_SECONDS, silence="no round ended well")


class DepthMeter:
    """Measures the depth of the queue, for the metrics of the whole installation."""

    def __init__(self, health: Health) -> None:
        self._health = health

    async def run_once(self) -> None:
        """Measure once. A failure is counted, and the old figures expire by themselves."""
        try:
            depth = await self._health.depth()
        except TemporaryError as error:
            metrics.depth_failures.inc()
            log.warning("the depth of the queue was not measured", action="depth.measure", error=str(error))
            return
        metrics.depth_figures.set(depth)
