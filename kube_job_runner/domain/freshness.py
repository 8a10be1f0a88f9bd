"""How fresh the reports of the watches are: until when everything is known of a kind in a namespace, and when nobody watched.

A time in which nobody watched is *dark*. A clock that waits for the cluster to show something counts watched time only. The
dark times are kept as intervals, at most `INTERVALS_KEPT` of the last `HORIZON_SECONDS`, so any clock can be read from them,
whenever it began, and none is extended by more than that horizon.
"""

import itertools
from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta

import msgspec

HORIZON_SECONDS = 6 * 3600.0
INTERVALS_KEPT = 64
SILENT_SECONDS = 120.0
"""Even where nothing happens, a bookmark or the end of a watch tells us this often that nothing is missing
(`watch_idle_seconds` is 90 s). A longer silence is dark."""
UNREPORTED_SECONDS = 30.0
"""A watcher reports every few seconds, even that nothing is new. Without a report nobody watches."""
SETTLE_SECONDS = 15.0
SETTLE_AFTER_SECONDS = 5.0
"""After a dark time of this length the nodes may have been cut off too. A kubelet writes a status that it could not write again
every 10 s (pkg/kubelet/status, syncPeriod). So as much time as was dark, up to `SETTLE_SECONDS`, counts as dark too."""

KINDS = ("job", "pod")
EVERYWHERE = "*"
"""In place of a namespace: one watch of all namespaces."""

Interval = tuple[datetime, datetime]
Ages = tuple[float, float]


class Watched(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of the watch of one kind in one namespace. `broken` says that its watcher lost its connection then."""

    kind: str
    namespace: str
    known_until: datetime
    reported_at: datetime
    broken: bool = False
    dark: tuple[Interval, ...] = ()


class WatchReport(msgspec.Struct, frozen=True, kw_only=True):
    """What one watcher knows of a namespace, all as ages in seconds: two computers agree on ages, not on times.

    It has watched since `began`, except in the `dark` intervals, and everything is known up to `known`.
    """

    namespace: str
    began: float
    known: float
    dark: tuple[Ages, ...] = ()
    broken: bool = False


class WatchTimes:
    """The times of one watch in a watcher, in monotonic seconds. It is current when the API server has just been heard."""

    def __init__(self) -> None:
        self._began: float | None = None
        self._known = 0.0
        self._dark: list[Ages] = []
        self._broken = False

    def current(self, now: float) -> None:
        """Note that everything up to now was read. After `interrupted`, what lies between was not watched."""
        if self._began is None:
            self._began = now
        elif self._broken:
            self._dark = [*self._dark, (self._known, now)][-INTERVALS_KEPT:]
        self._known, self._broken = max(self._known, now), False

    def interrupted(self) -> None:
        """Note that the watch has ended otherwise than by an orderly end of its answer."""
        self._broken = True

    def report(self, namespace: str, *, now: float, known: float | None = None) -> WatchReport | None:
        """Return the report of this watch, None before it was current. `known` bounds what is passed on already."""
        if self._began is None:
            return None
        until = self._known if known is None else min(self._known, known)
        return WatchReport(
            namespace=namespace,
            began=now - self._began,
            known=max(now - until, 0.0),
            dark=tuple((now - begin, now - end) for begin, end in self._dark),
            broken=self._broken,
        )


def joined(known: Watched | None, report: WatchReport, *, kind: str, now: datetime) -> Watched:
    """Return what is known after a report: the join of what all watchers say. A repeated report changes nothing.

    What lies between two watchers is dark, as is the time of a process that ended.
    """

    def at(age: float) -> datetime:
        return now - timedelta(seconds=age)

    until, began = at(report.known), at(report.began)
    if known is None:
        known = Watched(kind=kind, namespace=report.namespace, known_until=began, reported_at=now)
    if until <= known.known_until:
        # Times that went through two clocks differ a little. A broken connection is told with the time of its last word.
        near = known.known_until - until < timedelta(seconds=1)
        broken = known.broken or report.broken
        return msgspec.structs.replace(known, broken=broken, reported_at=now) if near else known
    dark = [(max(at(begin), known.known_until), at(end)) for begin, end in report.dark]
    if began > known.known_until:
        dark.append((known.known_until, began))
    oldest = now - timedelta(seconds=HORIZON_SECONDS)
    merged = _union([*known.dark, *(each for each in dark if each[0] < each[1])])
    return Watched(
        kind=kind,
        namespace=report.namespace,
        known_until=until,
        reported_at=now,
        broken=report.broken,
        dark=_bounded([each for each in merged if each[1] > oldest]),
    )


def _union(intervals: Iterable[Interval]) -> list[Interval]:
    """Return these intervals in order, with those that touch as one."""
    found: list[Interval] = []
    for begin, end in sorted(intervals):
        if found and begin <= found[-1][1]:
            found[-1] = (found[-1][0], max(found[-1][1], end))
        else:
            found.append((begin, end))
    return found


def _bounded(intervals: list[Interval]) -> tuple[Interval, ...]:
    """Return at most `INTERVALS_KEPT` intervals: of a watch that flaps, those that are closest together count as one."""
    while len(intervals) > INTERVALS_KEPT:
        gaps = [after[0] - before[1] for before, after in itertools.pairwise(intervals)]
        at = gaps.index(min(gaps))
        intervals[at : at + 2] = [(intervals[at][0], intervals[at + 1][1])]
    return tuple(intervals)


class Freshness(msgspec.Struct, frozen=True):
    """The watches of an installation, by kind and namespace. Without a row of a watch, it counts as never away."""

    watches: Mapping[tuple[str, str], Watched] = {}
    _past: dict[str, list[Interval]] = {}
    """By namespace, the dark times that are over, as they were asked for once."""

    def dark_seconds(self, namespace: str, since: datetime, now: datetime) -> float:
        """Return how many of the seconds since then nobody watched the Jobs or the pods of a namespace."""
        if not self.watches:
            return 0.0
        oldest = max(since, now - timedelta(seconds=HORIZON_SECONDS))
        seconds = 0.0
        for begin, end in reversed(self._dark(namespace, now)):
            if end <= oldest:
                break
            seconds += max(0.0, (min(end, now) - max(begin, oldest)).total_seconds())
        return seconds

    def is_dark(self, namespace: str, now: datetime) -> bool:
        """Return whether nobody watches that namespace now, or the nodes may not have told yet what happened meanwhile."""
        if not self.watches:
            return False
        intervals = self._dark(namespace, now)
        return bool(intervals) and intervals[-1][1] >= now

    def _dark(self, namespace: str, now: datetime) -> list[Interval]:
        """Return the dark times of a namespace in order, with the one that lasts."""
        watches = self._of(namespace)
        past = self._past.get(namespace)
        if past is None:
            intervals = ((begin, end + _settling(end - begin)) for watch in watches for begin, end in watch.dark)
            past = self._past[namespace] = _union(intervals)
        lasting = [(watch.known_until, now) for watch in watches if _is_away(watch, now)]
        return _union([*past, *lasting]) if lasting else past

    def _of(self, namespace: str) -> list[Watched]:
        """Return the newest watch of each kind. The other one of a kind is from before a change of the watched namespaces."""
        found: list[Watched] = []
        for kind in KINDS:
            one, other = self.watches.get((kind, namespace)), self.watches.get((kind, EVERYWHERE))
            if one is not None and (other is None or one.known_until >= other.known_until):
                found.append(one)
            elif other is not None:
                found.append(other)
        return found


def _is_away(watch: Watched, now: datetime) -> bool:
    silent = now - watch.known_until > timedelta(seconds=SILENT_SECONDS)
    unreported = now - watch.reported_at > timedelta(seconds=UNREPORTED_SECONDS)
    return (watch.broken or silent or unreported) and watch.known_until < now


def _settling(lasted: timedelta) -> timedelta:
    if lasted < timedelta(seconds=SETTLE_AFTER_SECONDS):
        return timedelta()
    return min(lasted, timedelta(seconds=SETTLE_SECONDS))


ALWAYS = Freshness()
