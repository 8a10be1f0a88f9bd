"""Events of an attempt, and what the deletion of a pod tells of its time."""

from __future__ import annotations

import functools

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from kube_job_runner.domain.facts import EVENTS_KEPT, AttemptFacts, EventFacts, PodFacts, Seen, join_pods, merge
from tests.support.domain import CLUSTER_UID, after, ended, job_facts, pod_facts, running


def event(uid: str, *, rv: int = 1, kind: str = "Pod", object_uid: str = "pod-1", text: str = "") -> EventFacts:
    return EventFacts(uid=uid, resource_version=rv, object_kind=kind, object_uid=object_uid, message=text)


def joined(*seen: Seen) -> AttemptFacts:
    facts = AttemptFacts()
    for one in seen:
        facts = merge(facts, one, cluster_uid=CLUSTER_UID)
    return facts


def test_an_event_that_comes_before_its_pod_is_kept_and_told_once_the_pod_is_known() -> None:
    early = event("e-1")
    facts = joined(job_facts(), early)
    assert facts.pod_events == ()
    assert joined(job_facts(), early, pod_facts()).pod_events == (early,)


def test_events_of_a_stranger_with_our_name_are_never_told() -> None:
    foreign = event("e-1", object_uid="another-pod")
    facts = joined(job_facts(), pod_facts(), foreign, event("e-2", kind="Job", object_uid="another-job"))
    assert facts.events == (foreign,), "the job's uid is known, so an event of another Job is not even kept"
    assert (facts.pod_events, facts.job_events) == ((), ())


def test_an_event_of_another_kind_changes_nothing() -> None:
    assert joined(event("e-1", kind="Node")) == AttemptFacts()


def test_events_of_the_job_are_apart_from_those_of_its_pods() -> None:
    refused = event("e-2", kind="Job", object_uid=CLUSTER_UID, text="quota")
    facts = joined(job_facts(), pod_facts(), event("e-1"), refused)
    assert facts.job_events == (refused,)
    assert [found.uid for found in facts.pod_events] == ["e-1"]


def test_without_the_job_its_events_wait() -> None:
    provisional = merge(AttemptFacts(), event("e", kind="Job", object_uid="u"), cluster_uid=None)
    assert len(provisional.events) == 1
    assert provisional.job_events == ()


def test_the_newer_version_of_an_event_wins_and_only_the_newest_are_kept() -> None:
    many = [event(f"e-{number:02}", rv=number) for number in range(1, 20)]
    again = event("e-01", rv=100, text="again")
    facts = joined(pod_facts(), *many, again, event("e-01", rv=50, text="stale"))
    assert len(facts.events) == EVENTS_KEPT
    assert facts.events[-1] == again
    assert [found.uid for found in facts.events[:-1]] == [f"e-{number:02}" for number in range(9, 20)]


def test_facts_with_an_event_are_stored_as_they_are() -> None:
    facts = joined(job_facts(), pod_facts(), event("e-1"))
    assert msgspec.json.decode(msgspec.json.encode(facts), type=AttemptFacts) == facts


@st.composite
def pod_versions(draw: st.DrawFn) -> list[PodFacts]:
    """The versions of one pod: its program may end, its node may forget that, and it may be deleted at any time."""
    count = draw(st.integers(1, 5))
    ends_at, deleted_at, gone_at = (draw(st.integers(0, count)) for _ in range(3))
    end = ended(draw(st.sampled_from([0, 3])), end=draw(st.integers(2, 9)))
    made = []
    for number in range(count):
        after_end = draw(st.sampled_from([end, end, None, ended(137, "ContainerStatusUnknown")]))
        grace = draw(st.sampled_from([0, 5, 30])) if number >= deleted_at else None
        seen = pod_facts(
            running() if number < ends_at else end if number == ends_at else after_end,
            rv=number + 1,
            phase=draw(st.sampled_from(["Running", "Succeeded"])) if number >= ends_at else "Running",
            job_uid=draw(st.sampled_from(["", CLUSTER_UID])),
            deleting=grace is not None,
            deletion_due_at=None if grace is None else after(draw(st.integers(5, 40))),
            deletion_grace_seconds=grace,
            gone=number >= gone_at,
        )
        made.append(seen)
    return made


@given(versions=pod_versions(), data=st.data())
@settings(max_examples=300, deadline=None, derandomize=True)
def test_the_versions_of_a_pod_lead_to_the_same_facts_in_any_order(
    versions: list[PodFacts], data: st.DataObject
) -> None:
    shuffled = data.draw(st.permutations(versions)) + data.draw(st.lists(st.sampled_from(versions), max_size=3))
    cut = data.draw(st.integers(1, len(shuffled)))
    halves = [functools.reduce(join_pods, half) for half in (shuffled[:cut], shuffled[cut:]) if half]
    assert functools.reduce(join_pods, halves) == functools.reduce(join_pods, versions)
