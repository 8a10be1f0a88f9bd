"""What an informer has told of one namespace: so that nothing is told twice, and what vanished unseen is noticed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Generic
from uuid import UUID

import msgspec

from kube_job_runner.adapters.kubernetes.decode import UNKNOWN_ID, Facts, Item
from kube_job_runner.ports import WatchEvent

Told = Callable[[UUID, int, Facts], WatchEvent]


class _Entry(msgspec.Struct, Generic[Facts]):
    job_id: UUID
    attempt: int
    facts: Facts


class Known(Generic[Facts]):
    """The last facts told of each uid that is not gone, and the newest resource version heard of."""

    def __init__(self, told: Told[Facts]) -> None:
        self._told: Told[Facts] = told
        self._entries: dict[str, _Entry[Facts]] = {}
        self._listed: set[str] = set()
        self.newest_version = 0
        self.foreign = 0

    def begin_list(self) -> None:
        """Forget which objects the last list held."""
        self._listed = set()

    def listed(self, items: list[Item[Facts]]) -> Iterator[WatchEvent]:
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

    def seen(self, item: Item[Facts]) -> Iterator[WatchEvent]:
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

    def _ours(self, item: Item[Facts]) -> bool:
        if item.job_id == UNKNOWN_ID or item.attempt < 1:
            self.foreign += 1  # carries our selector's labels, but not ours to judge
            return False
        return True

    @staticmethod
    def _same(entry: _Entry[Facts], facts: Facts) -> bool:
        """Tell whether only the version changed; the newer version is kept, so that older news stays older."""
        if msgspec.structs.replace(entry.facts, resource_version=facts.resource_version) != facts:
            return False
        entry.facts = facts
        return True
