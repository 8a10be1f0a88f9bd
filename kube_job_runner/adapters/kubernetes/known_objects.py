"""The objects of one namespace that an informer has reported: nothing is reported twice, and what vanished is noticed."""

import abc
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from typing import Any, Generic, TypeVar
from uuid import UUID

import msgspec

from kube_job_runner.adapters.kubernetes.decode import Facts, Item
from kube_job_runner.adapters.kubernetes.object_facts import UNKNOWN_ID
from kube_job_runner.domain.facts import EventFacts, JobFacts, PodFacts
from kube_job_runner.ports import WatchEvent

FIRST_LIST_SECONDS = 900.0
"""The first list reports only Events younger than this. Older ones were reported before we began, or explain nothing now."""

Report = Callable[[UUID, int, Facts], WatchEvent]
Living = TypeVar("Living", JobFacts, PodFacts)


class Memory(abc.ABC, Generic[Facts]):
    """What an informer remembers of a namespace. It decides which of the objects that are read are reported."""

    def __init__(self) -> None:
        self.newest_version = 0
        self._entries: dict[str, Any] = {}  # by uid
        self._listed: set[str] = set()

    def begin_list(self) -> None:
        """Begin a list: no object is listed yet."""
        self._listed = set()

    @abc.abstractmethod
    def listed(self, items: list[Item[Facts]]) -> Iterator[WatchEvent]:
        """Take a page of a list; yield the reports of its objects."""

    @abc.abstractmethod
    def end_list(self, version: int) -> Iterator[WatchEvent]:
        """Take the end of a complete list; yield the reports of known objects that were not in it."""

    @abc.abstractmethod
    def seen(self, item: Item[Facts]) -> Iterator[WatchEvent]:
        """Take a line of a watch; yield its report."""

    def bookmark(self, version: str) -> None:
        """Take the version of a bookmark."""
        if version.isascii() and version.isdigit():
            self.newest_version = max(self.newest_version, int(version))

    def restart(self) -> None:
        """Trust the server's versions from zero: its history was replaced, so the known versions mean nothing."""
        self.newest_version = 0
        self._entries.clear()


class _Entry(msgspec.Struct, Generic[Living]):
    job_id: UUID
    attempt: int
    facts: Living


class KnownObjects(Memory[Living], Generic[Living]):
    """`Memory` of Jobs or pods: the last reported facts of each object that is not gone."""

    def __init__(self, report: Report[Living]) -> None:
        super().__init__()
        self._report: Report[Living] = report
        self._entries: dict[str, _Entry[Living]] = {}
        self.foreign = 0

    def listed(self, items: list[Item[Living]]) -> Iterator[WatchEvent]:
        """Yield every object of ours, changed or not: a list shows what exists."""
        for item in items:
            if not self._ours(item):
                continue
            uid = item.facts.uid
            self._listed.add(uid)
            entry = self._entries.get(uid)
            if entry is None or entry.facts.resource_version <= item.facts.resource_version:
                self._entries[uid] = entry = _Entry(item.job_id, item.attempt, item.facts)
            yield self._report(entry.job_id, entry.attempt, entry.facts)

    def end_list(self, version: int) -> Iterator[WatchEvent]:
        """Yield the known objects that the complete list did not hold, as gone."""
        self.newest_version = max(self.newest_version, version)
        for uid in [uid for uid in self._entries if uid not in self._listed]:
            entry = self._entries.pop(uid)
            gone = msgspec.structs.replace(entry.facts, gone=True)
            yield self._report(entry.job_id, entry.attempt, gone)

    def seen(self, item: Item[Living]) -> Iterator[WatchEvent]:
        """Yield the object, unless it is older than the last report, or the same."""
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
        yield self._report(item.job_id, item.attempt, facts)

    def _ours(self, item: Item[Living]) -> bool:
        if item.job_id == UNKNOWN_ID or item.attempt < 1:
            self.foreign += 1  # it matches our selector, but its labels name no attempt
            return False
        return True

    @staticmethod
    def _same(entry: _Entry[Living], facts: Living) -> bool:
        """Return whether only the version changed. The newer version is kept, so that older lines stay older."""
        if msgspec.structs.replace(entry.facts, resource_version=facts.resource_version) != facts:
            return False
        entry.facts = facts
        return True


class _Reported(msgspec.Struct):
    version: int
    reason: str
    message: str
    count: int


class KnownEvents(Memory[EventFacts]):
    """`Memory` of Events: each is reported once, no list repeats it, and its end is not reported.

    An Event that only counts on is reported again when its count has doubled. So a pod that backs off for a day costs a
    few messages.
    """

    def __init__(self, report: Report[EventFacts], *, now: Callable[[], datetime]) -> None:
        super().__init__()
        self._report: Report[EventFacts] = report
        self._entries: dict[str, _Reported] = {}
        self._now = now
        self._listed_once = False

    def listed(self, items: list[Item[EventFacts]]) -> Iterator[WatchEvent]:
        """Yield the Events that were not reported yet; of the first list, only the young ones."""
        oldest = self._now() - timedelta(seconds=FIRST_LIST_SECONDS)
        for item in items:
            if item.job_id == UNKNOWN_ID:
                continue
            self._listed.add(item.facts.uid)
            new = self._is_new(item.facts)
            if new and (self._listed_once or (item.facts.last_at or oldest) > oldest):
                yield self._report(item.job_id, item.attempt, item.facts)

    def end_list(self, version: int) -> Iterator[WatchEvent]:
        """Forget the Events that have expired; nothing is reported."""
        self.newest_version = max(self.newest_version, version)
        self._entries = {uid: entry for uid, entry in self._entries.items() if uid in self._listed}
        self._listed_once = True
        return iter(())

    def seen(self, item: Item[EventFacts]) -> Iterator[WatchEvent]:
        """Yield an Event that says something new about an attempt."""
        if item.job_id == UNKNOWN_ID:
            return
        self.newest_version = max(self.newest_version, item.facts.resource_version)
        self._listed.add(item.facts.uid)
        if self._is_new(item.facts):
            yield self._report(item.job_id, item.attempt, item.facts)

    def _is_new(self, facts: EventFacts) -> bool:
        entry = self._entries.get(facts.uid)
        if entry is not None:
            same_text = (entry.reason, entry.message) == (facts.reason, facts.message)
            if facts.resource_version <= entry.version or (same_text and facts.count < 2 * entry.count):
                return False
        self._entries[facts.uid] = _Reported(facts.resource_version, facts.reason, facts.message, facts.count)
        return True
