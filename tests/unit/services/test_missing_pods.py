"""What a complete list of pods has not shown is gone: once, and in its own namespace only."""

from __future__ import annotations

import uuid

from kube_job_runner.domain.facts import PodFacts
from kube_job_runner.ports import KnownPod
from kube_job_runner.services.missing_pods import MissingPods

JOB = uuid.uuid4()


def known(*pods: str) -> MissingPods:
    """Return pods by uid; the namespace of each is the first letter of its uid."""
    return MissingPods([KnownPod(job_id=JOB, attempt=1, namespace=uid[0], uid=uid) for uid in pods])


def gone(missing: MissingPods, namespace: str | None) -> list[str]:
    found = missing.after(namespace)
    assert all(message.seen == PodFacts(uid=uid, gone=True) for uid, message in found)
    assert all((message.job_id, message.attempt) == (JOB, 1) for _, message in found)
    return [uid for uid, _ in found]


def test_what_a_list_has_shown_is_not_gone() -> None:
    missing = known("a1", "a2")
    missing.shown("a1")
    missing.shown("unknown")
    assert gone(missing, None) == ["a2"]


def test_a_list_of_a_namespace_says_nothing_about_another_and_each_is_reported_once() -> None:
    missing = known("a1", "b1")
    assert gone(missing, "a") == ["a1"]
    assert gone(missing, "a") == []
    assert gone(missing, "b") == ["b1"]
