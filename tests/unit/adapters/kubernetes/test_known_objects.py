"""What an informer remembers of a namespace: nothing is reported twice, and what vanished is noticed."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from kube_job_runner.adapters.kubernetes.decode import Item
from kube_job_runner.adapters.kubernetes.known_objects import KnownObjects
from kube_job_runner.domain.facts import PodFacts
from kube_job_runner.ports import SeenPod


def _item(uid: str, version: int, *, phase: str = "Pending", gone: bool = False) -> Item[PodFacts]:
    facts = PodFacts(uid=uid, resource_version=version, phase=phase, gone=gone)
    return Item(facts, UUID(int=1), 1, {}, {})


def _known() -> KnownObjects[PodFacts]:
    return KnownObjects(lambda job_id, attempt, facts: SeenPod(job_id=job_id, attempt=attempt, facts=facts))


def _short(events: Any) -> list[tuple[str, int, bool]]:
    return [(event.facts.uid, event.facts.resource_version, event.facts.gone) for event in events]


def test_a_list_tells_everything_each_time_and_then_what_vanished() -> None:
    known = _known()
    for _ in range(2):
        known.begin_list()
        assert _short(known.listed([_item("a", 1), _item("b", 2)])) == [("a", 1, False), ("b", 2, False)]
        assert _short(known.end_list(5)) == []
    known.begin_list()
    assert _short(known.listed([_item("b", 2)])) == [("b", 2, False)]
    assert _short(known.end_list(6)) == [("a", 1, True)]
    assert _short(known.end_list(7)) == []


def test_a_watch_tells_changes_once_and_in_order_of_version() -> None:
    known = _known()
    assert _short(known.seen(_item("a", 1))) == [("a", 1, False)]
    assert _short(known.seen(_item("a", 3))) == []  # only the version changed
    assert _short(known.seen(_item("a", 2, phase="Running"))) == []  # older than version 3
    assert _short(known.seen(_item("a", 4, phase="Running"))) == [("a", 4, False)]
    assert _short(known.seen(_item("a", 5, phase="Running", gone=True))) == [("a", 5, True)]
    assert known.newest_version == 5


def test_an_older_list_entry_does_not_replace_newer_facts() -> None:
    known = _known()
    list(known.seen(_item("a", 9, phase="Succeeded")))
    known.begin_list()
    (event,) = known.listed([_item("a", 3, phase="Running")])
    assert isinstance(event, SeenPod)
    assert event.facts.phase == "Succeeded"


def test_what_is_nobodys_is_counted_and_not_told() -> None:
    known = _known()
    stranger: Item[PodFacts] = Item(PodFacts(uid="x"), UUID(int=0), 1, {}, {})
    unnumbered: Item[PodFacts] = Item(PodFacts(uid="x"), UUID(int=1), 0, {}, {})
    assert _short(known.seen(stranger)) == _short(known.listed([unnumbered])) == []
    assert known.foreign == 2
