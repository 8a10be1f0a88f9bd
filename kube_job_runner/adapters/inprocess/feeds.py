"""Feeds: `ports.ClusterWatcher` for objects in our own memory, with lists, changes, and the difference after a relist.

The local and the simulated cluster share it, so both keep the promises of the port in the same way. Changes come in order.
A change without an effect is left out. An object that vanished between two lists is reported as `gone`. Every watcher
sees everything.
"""

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Mapping
from typing import Generic, TypeVar

from msgspec.structs import replace

from kube_job_runner.domain.freshness import WatchTimes
from kube_job_runner.ports import ClusterIdentity, Listed, Relisting, SeenEvent, SeenJob, SeenPod, WatchEvent

BACKLOG_MAX = 100_000  # changes that a watcher may lag behind; with more it lists again, as after a 410

EVENTS_KEPT = 1000

SeenT = TypeVar("SeenT", SeenJob, SeenPod)


def gone(seen: SeenT) -> SeenT:
    """Return the last sight of an object, as gone."""
    return replace(seen, facts=replace(seen.facts, gone=True))


def _same_but_version(one: SeenT, other: SeenT) -> bool:
    version = other.facts.resource_version
    if one.facts.resource_version == version:
        return one == other
    return replace(one, facts=replace(one.facts, resource_version=version)) == other


class _Watcher(Generic[SeenT]):
    """One watcher: the changes that it has not taken yet, and its last sight of each object that is not gone."""

    def __init__(self) -> None:
        self.changes: deque[SeenT] = deque()
        self.known: dict[str, SeenT] = {}
        self.listed_version = 0
        self.must_list = True
        self.wake = asyncio.Event()

    def push(self, seen: SeenT) -> None:
        if self.must_list:
            return  # its next list will hold it
        self.changes.append(seen)
        if len(self.changes) > BACKLOG_MAX:
            self.relist()
        self.wake.set()

    def relist(self) -> None:
        self.must_list = True
        self.changes.clear()
        self.wake.set()

    def begin_list(self, objects: Mapping[str, SeenT], *, version: int) -> list[SeenT]:
        """Begin again: return all objects, known or not, and then the known objects that are not among them."""
        vanished = [gone(seen) for uid, seen in self.known.items() if uid not in objects]
        self.known = dict(objects)
        self.listed_version = version
        self.must_list = False
        self.changes.clear()
        listed = list(objects.values())
        listed.extend(vanished)
        return listed

    def accepts(self, seen: SeenT) -> bool:
        """Note a change; return whether it is new to this watcher."""
        uid, known = seen.facts.uid, self.known.get(seen.facts.uid)
        if seen.facts.gone:
            return self.known.pop(uid, None) is not None
        if known is None and seen.facts.resource_version <= self.listed_version:
            return False  # older than the list, and the object was gone by then
        if known is not None and known.facts.resource_version >= seen.facts.resource_version:
            return False
        self.known[uid] = seen
        return known is None or not _same_but_version(known, seen)


class Feed(Generic[SeenT]):
    """The objects of one kind, and their watchers. For use from one event loop only."""

    def __init__(self) -> None:
        self.objects: dict[str, SeenT] = {}
        self._version = 0
        self._watchers: list[_Watcher[SeenT]] = []
        self._times = WatchTimes()
        self.cluster: ClusterIdentity | None = None
        """The cluster that the feed is of, if it is to be told to the watchers."""

    def times(self, now: float) -> WatchTimes:
        """Return when this feed was watched: in one process, always until now."""
        self._times.current(now)
        return self._times

    def store(self, seen: SeenT) -> None:
        """Keep the newest state of an object, or forget it if it is gone. The watchers are not notified yet."""
        self._version = max(self._version, seen.facts.resource_version)
        if seen.facts.gone:
            self.objects.pop(seen.facts.uid, None)
        else:
            self.objects[seen.facts.uid] = seen

    def announce(self, seen: SeenT) -> None:
        """Notify every watcher of a change. Here that happens at once."""
        self.push(seen)

    def push(self, seen: SeenT) -> None:
        for watcher in self._watchers:
            watcher.push(seen)

    def publish(self, seen: SeenT) -> None:
        self.store(seen)
        self.announce(seen)

    def relist(self) -> None:
        """Disconnect every watcher: it loses the changes that it has not taken, and lists again."""
        for watcher in self._watchers:
            watcher.relist()

    async def list_pause(self) -> None:
        """Do nothing. A feed with slow lists waits here, between reading its state and returning it."""

    async def watch(self) -> AsyncGenerator[WatchEvent, None]:
        """Yield the events of one watcher, as `ports.ClusterWatcher` promises, without end."""
        watcher = _Watcher[SeenT]()
        self._watchers.append(watcher)
        try:
            while True:
                if watcher.must_list:
                    yield Relisting()
                    listed = watcher.begin_list(self.objects, version=self._version)
                    await self.list_pause()
                    for seen in listed:
                        yield seen
                    if not watcher.must_list:
                        yield Listed(cluster=self.cluster)
                    continue
                if watcher.changes:
                    change = watcher.changes.popleft()
                    if watcher.accepts(change):
                        yield change
                    continue
                watcher.wake.clear()
                await watcher.wake.wait()
        finally:
            self._watchers.remove(watcher)


class EventFeed:
    """The Events of a cluster in our own process, and their watchers. Each watcher sees each Event once."""

    def __init__(self) -> None:
        self._events: deque[SeenEvent] = deque(maxlen=EVENTS_KEPT)
        self._watchers: list[tuple[deque[SeenEvent | None], asyncio.Event]] = []

    def publish(self, seen: SeenEvent) -> None:
        """Keep an Event for later watchers, and give it to every watcher."""
        self._events.append(seen)
        self._push(seen)

    def relist(self) -> None:
        """Let every watcher list again. The list has no Event that the watcher has seen."""
        self._push(None)

    def _push(self, seen: SeenEvent | None) -> None:
        for changes, wake in self._watchers:
            changes.append(seen)
            wake.set()

    async def watch(self) -> AsyncGenerator[WatchEvent, None]:
        """Yield as `ports.ClusterWatcher.watch_events` promises, without end."""
        changes: deque[SeenEvent | None] = deque(self._events)
        wake = asyncio.Event()
        self._watchers.append((changes, wake))
        try:
            yield Relisting()
            while changes:
                if (first := changes.popleft()) is not None:
                    yield first
            yield Listed()
            while True:
                while changes:
                    change = changes.popleft()
                    if change is not None:
                        yield change
                        continue
                    yield Relisting()
                    yield Listed()
                wake.clear()
                await wake.wait()
        finally:
            self._watchers.remove((changes, wake))
