"""Observations in any order, any number of times: the same facts, and the same end."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kube_job_runner.adapters.kubernetes import api_objects, object_facts
from kube_job_runner.domain.facts import EVENTS_KEPT, AttemptFacts, EventFacts, JobFacts, PodFacts, merge
from kube_job_runner.domain.job import Job
from kube_job_runner.domain.states import State
from tests.support.domain import after, apply, decide, make_attempt, make_job

Seen = JobFacts | PodFacts | EventFacts

FIXTURES = Path(__file__).parents[3] / "fixtures" / "watch"
CHANGES = ("ADDED", "MODIFIED", "DELETED")


def recorded(case: str) -> list[Seen]:
    """Return the observations of a recorded case, in the order of the cluster."""
    seen: list[Seen] = []
    for line in (FIXTURES / f"{case}.jobs.jsonl").read_text().splitlines():
        raw = json.loads(line)
        if raw["type"] in CHANGES:
            seen.append(
                object_facts.job_facts(msgspec.convert(raw["object"], api_objects.Job), gone=raw["type"] == "DELETED")
            )
    for line in (FIXTURES / f"{case}.pods.jsonl").read_text().splitlines():
        raw = json.loads(line)
        if raw["type"] in CHANGES:
            seen.append(
                object_facts.pod_facts(msgspec.convert(raw["object"], api_objects.Pod), gone=raw["type"] == "DELETED")
            )
    return sorted(seen, key=lambda facts: facts.resource_version)


def cases() -> list[str]:
    """Return the recorded cases of a single Job and a single pod that came to an end."""
    chosen = []
    for file in sorted(FIXTURES.glob("*.jobs.jsonl")):
        case = file.name.removesuffix(".jobs.jsonl")
        seen = recorded(case)
        uids = {type(facts).__name__: {f.uid for f in seen if type(f) is type(facts)} for facts in seen}
        finished = any(
            isinstance(f, JobFacts) and (f.condition("Complete") or f.condition("Failed") or f.gone) for f in seen
        )
        if finished and all(len(of_kind) == 1 for of_kind in uids.values()):
            chosen.append(case)
    return chosen


CASES = cases()


def play(observations: Sequence[Seen], uid: str) -> Job:
    """Return the job after these observations, each of them delivered and decided alone."""
    job = make_job(State.STARTING)
    attempts = {1: make_attempt(cluster_uid=uid, facts=AttemptFacts(), created_at=None)}
    for seen in observations:
        attempt = attempts[1]
        merged = merge(attempt.facts, seen, cluster_uid=uid)
        attempts[1] = msgspec.structs.replace(attempt, facts=merged)
        decision = decide(job, attempts[1], now=after(10))
        job, attempts = apply(decision, attempts)
    return job


def end(job: Job) -> tuple[State, str, int | None]:
    return job.state, job.reason, job.exit_code


def test_there_are_recorded_cases() -> None:
    assert len(CASES) >= 12


@pytest.mark.parametrize("case", CASES)
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow], derandomize=True)
@given(data=st.data())
def test_recorded_streams_end_the_same_in_any_order(case: str, data: st.DataObject) -> None:
    observations = recorded(case)
    [uid] = {facts.uid for facts in observations if isinstance(facts, JobFacts)}
    expected = end(play(observations, uid))
    indexes = data.draw(st.permutations(range(len(observations))))
    repeats = data.draw(st.lists(st.sampled_from(range(len(observations))), max_size=10))
    shuffled = [observations[index] for index in [*indexes, *repeats]]
    assert end(play(shuffled, uid)) == expected


containers = st.sampled_from(["", "waiting", "running", "terminated"])


@st.composite
def histories(draw: st.DrawFn) -> list[Seen]:
    """A made-up history of one Job and up to two pods, with growing versions and, perhaps, an end."""
    version = 0
    seen: list[Seen] = []
    pods = draw(st.integers(0, 2))
    for uid in [f"pod-{number}" for number in range(pods)]:
        for phase in ["Pending", "Running", draw(st.sampled_from(["Succeeded", "Failed"]))][: draw(st.integers(1, 3))]:
            version += draw(st.integers(1, 3))
            seen.append(PodFacts(uid=uid, job_uid="job-1", resource_version=version, phase=phase))
        if draw(st.booleans()):
            seen.append(PodFacts(uid=uid, job_uid="job-1", resource_version=version + 1, phase="Failed", gone=True))
    seen.append(JobFacts(uid="job-1", resource_version=version + 1))
    if draw(st.booleans()):
        seen.append(JobFacts(uid="job-1", resource_version=version + 5, deleting=True))
    if draw(st.booleans()):
        seen.append(JobFacts(uid="job-1", gone=True))
    for uid in [f"event-{number}" for number in range(draw(st.integers(0, EVENTS_KEPT + 4)))]:
        kind, object_uid = draw(
            st.sampled_from([("Job", "job-1"), ("Job", "other"), ("Pod", "pod-0"), ("Pod", "pod-9")])
        )
        for _ in range(draw(st.integers(1, 3))):
            version += draw(st.integers(1, 3))
            last_at = after(draw(st.integers(0, 30)))  # not in the order of the versions: clients write times
            event = EventFacts(uid=uid, resource_version=version, object_kind=kind, object_uid=object_uid)
            seen.append(msgspec.structs.replace(event, last_at=last_at))
    return seen


@given(history=histories(), data=st.data())
@settings(max_examples=300, deadline=None, derandomize=True)
def test_merging_is_a_join(history: list[Seen], data: st.DataObject) -> None:
    def merged(observations: Sequence[Seen]) -> AttemptFacts:
        facts = AttemptFacts()
        for seen in observations:
            facts = merge(facts, seen, cluster_uid="job-1")
        return facts

    shuffled = data.draw(st.permutations(history))
    repeats = data.draw(st.lists(st.sampled_from(history), max_size=5))
    assert merged([*shuffled, *repeats]) == merged(history)
