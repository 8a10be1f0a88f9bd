"""What an informer has told of one namespace: so that nothing is told twice, and what vanished unseen is noticed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from typing import Generic, Protocol, TypeVar
from uuid import UUID

import msgspec

from kube_job_runner.adapters.kubernetes.decode import UNKNOWN_ID, Facts, Item
from kube_job_runner.domain.facts import EventFacts, JobFacts, PodFacts
from kube_job_runner.ports import WatchEvent

FIRST_LIST_SECONDS = 900.0
"""How old an Event may be to be told by the first list: what is older was told before we began, or explains nothing now."""

Told = Callable[[UUID, int, Facts], WatchEvent]
Living = TypeVar("Living", JobFacts, PodFacts)


class Memory(Protocol[Facts]):
    """What an informer keeps in mind of a namespace: it decides what is told of what is read."""

    newest_version: int

    def begin_list(self) -> None:
        """Forget which objects the last list held."""
        ...

    def listed(self, items: list[Item[Facts]]) -> Iterator[WatchEvent]:
        """Take a page of a list; yield what is to be told of it."""
        ...

    def end_list(self, version: int) -> Iterator[WatchEvent]:
        """Take the end of a complete list; yield what is to be told of what it did not hold."""
        ...

    def seen(self, item: Item[Facts]) -> Iterator[WatchEvent]:
        """Take a line of a watch; yield what is to be told of it."""
        ...

    def heard(self, version: str) -> None:
        """Take note of the version of a bookmark."""
        ...

    def restart(self) -> None:
        """Trust the server's versions from zero."""
        ...


class _Entry(msgspec.Struct, Generic[Living]):
    job_id: UUID
    attempt: int
    facts: Living


class Known(Generic[Living]):
    """The last facts told of each uid that is not gone, and the newest resource version heard of."""

    def __init__(self, told: Told[Living]) -> None:
        self._told: Told[Living] = told
        self._entries: dict[str, _Entry[Living]] = {}
        self._listed: set[str] = set()
        self.newest_version = 0
        self.foreign = 0

    def begin_list(self) -> None:
        """Forget which objects the last list held."""
        self._listed = set()

    def listed(self, items: list[Item[Living]]) -> Iterator[WatchEvent]:
        """Take a page of a list; yield every object of ours, changed or not: a list tells what is there."""
        for item in items:
            if not self._ours(item):
                continue
            uid = item.facts.uid
            self._listed.add(uid)
            entry = self._entries.get(uid)
            if entry is None or entry.facts.resource_version <= item.facts.resource_version:
                self._entries[uid] = entry = _Entry(item.job_id, item.attempt, item.facts)
            yield self._told(entry.job_id, entry.attempt, entry.facts)

    def end_list(self, version: int) -> Iterator[WatchEvent]:
        """Yield what was known and is not in the complete list that is over, as gone."""
        self.newest_version = max(self.newest_version, version)
        for uid in [uid for uid in self._entries if uid not in self._listed]:
            entry = self._entries.pop(uid)
            gone = msgspec.structs.replace(entry.facts, gone=True)
            yield self._told(entry.job_id, entry.attempt, gone)

    def seen(self, item: Item[Living]) -> Iterator[WatchEvent]:
        """Take a line of a watch; yield it unless it is older than, or the same as, what was told last."""
        if not self._ours(item):
            return
        facts = item.facts
        self.newest_version = max(self.newest_version, facts.resource_version)
        entry = self._entries.get(facts.uid)
        if facts.gone:
            self._entries.pop(facts.uid, None)
            self._listed.discard(facts.uid)
        elif entry is None:
            self._entries[facts.uid] = _Entry(item.job_id, item.attempt, facts)
        elif facts.resource_version < entry.facts.resource_version or self._same(entry, facts):
            return
        else:
            entry.facts = facts
        yield self._told(item.job_id, item.attempt, facts)

    def heard(self, version: str) -> None:
        """Take note of the version of a bookmark."""
        if version.isascii() and version.isdigit():
            self.newest_version = max(self.newest_version, int(version))

    def restart(self) -> None:
        """Trust the server's versions from zero: its history was replaced (a restored backup), ours means nothing there."""
        self.newest_version = 0
        self._entries.clear()

    def _ours(self, item: Item[Living]) -> bool:
        if item.job_id == UNKNOWN_ID or item.attempt < 1:
            self.foreign += 1  # carries our selector's labels, but not ours to judge
            return False
        return True

    @staticmethod
    def _same(entry: _Entry[Living], facts: Living) -> bool:
        """Tell whether only the version changed; the newer version is kept, so that older news stays older."""
        if msgspec.structs.replace(entry.facts, resource_version=facts.resource_version) != facts:
            return False
        entry.facts = facts
        return True


class _Told(msgspec.Struct):
    version: int
    reason: str
    message: str
    count: int


class KnownEvents:
    """The Events told of one namespace. An Event is text that is told once: it never comes again by a list, and never goes.

    One that is only counted on is told when its count has doubled: a pod that backs off for a day costs a few messages.
    """

    def __init__(self, told: Told[EventFacts], *, now: Callable[[], datetime]) -> None:
        self._told: Told[EventFacts] = told
        self._now = now
        self._entries: dict[str, _Told] = {}
        self._listed: set[str] = set()
        self._listed_once = False
        self.newest_version = 0

    def begin_list(self) -> None:
        """Forget which Events the last list held."""
        self._listed = set()

    def listed(self, items: list[Item[EventFacts]]) -> Iterator[WatchEvent]:
        """Take a page of a list; yield what was not told yet, of the first list only what is young."""
        oldest = self._now() - timedelta(seconds=FIRST_LIST_SECONDS)
        for item in items:
            if item.job_id == UNKNOWN_ID:
                continue
            self._listed.add(item.facts.uid)
            new = self._is_new(item.facts)
            if new and (self._listed_once or (item.facts.last_at or oldest) > oldest):
                yield self._told(item.job_id, item.attempt, item.facts)

    def end_list(self, version: int) -> Iterator[WatchEvent]:
        """Forget what has expired; nothing is told of it."""
        self.newest_version = max(self.newest_version, version)
        self._entries = {uid: entry for uid, entry in self._entries.items() if uid in self._listed}
        self._listed_once = True
        return iter(())

    def seen(self, item: Item[EventFacts]) -> Iterator[WatchEvent]:
        """Take a line of a watch; yield it when it says something new of an attempt."""
        if item.job_id == UNKNOWN_ID:
            return
        self.newest_version = max(self.newest_version, item.facts.resource_version)
        self._listed.add(item.facts.uid)
        if self._is_new(item.facts):
            yield self._told(item.job_id, item.attempt, item.facts)

    def heard(self, version: str) -> None:
        """Take note of the version of a bookmark."""
        if version.isascii() and version.isdigit():
            self.newest_version = max(self.newest_version, int(version))

    def restart(self) -> None:
        """Trust the server's versions from zero."""
        self.newest_version = 0
        self._entries.clear()

    def _is_new(self, facts: EventFacts) -> bool:
        entry = self._entries.get(facts.uid)
        if entry is not None:
            same_text = (entry.reason, entry.message) == (facts.reason, facts.message)
            if facts.resource_version <= entry.version or (same_text and facts.count < 2 * entry.count):
                return False
        self._entries[facts.uid] = _Told(facts.resource_version, facts.reason, facts.message, facts.count)
        return True
