"""The timeline of a job: phases with times, deadlines and reasons."""

from __future__ import annotations

import itertools
from typing import Any

from kube_job_runner.domain.decide import observation
from kube_job_runner.domain.facts import Condition
from kube_job_runner.domain.job import Attempt, Job
from kube_job_runner.domain.record import timeline
from kube_job_runner.domain.record.timeline import Phase
from kube_job_runner.domain.spec.model import Retry, Timeouts
from kube_job_runner.domain.states import State
from tests.support.domain import (
    after,
    apply,
    decide,
    ended,
    job_facts,
    make_attempt,
    make_job,
    pod_facts,
    running,
    waiting,
    with_facts,
)

CREATING = waiting("ContainerCreating")


def conditions(*true: tuple[str, float]) -> tuple[Condition, ...]:
    return tuple(Condition(type=type_, at=after(seconds)) for type_, seconds in true)


def phases(job: Job, *attempts: Attempt, now: float, **more: Any) -> list[Phase]:
    return timeline.timeline(job, {a.number: a for a in attempts}, now=after(now), **more)


def names(found: list[Phase]) -> list[tuple[int, str]]:
    return [(phase.attempt, phase.name) for phase in found]


SCHEDULED = pod_facts(CREATING, conditions=conditions(("PodScheduled", 2)))
PULLING = pod_facts(CREATING, rv=12, conditions=conditions(("PodScheduled", 2), ("PodReadyToStartContainers", 3)))
RUNNING = pod_facts(
    running(8), phase="Running", rv=13, conditions=conditions(("PodScheduled", 2), ("PodReadyToStartContainers", 3))
)
ENDED = pod_facts(ended(0, start=8, end=20), phase="Succeeded", rv=14, conditions=conditions(("PodScheduled", 2)))


def test_a_waiting_job_tells_where_it_stands_and_until_when_it_may_wait() -> None:
    [phase] = phases(make_job(timeouts=Timeouts(queue_seconds=60)), now=5, standing="4th in queue etl")
    assert (phase.name, phase.reason, phase.deadline, phase.ended_at) == ("queued", "4th in queue etl", after(60), None)


def test_the_phases_of_a_job_that_succeeded_follow_each_other_without_a_hole() -> None:
    attempt = with_facts(make_attempt(created_at=after(1)), SCHEDULED, PULLING, RUNNING, ENDED)
    attempt = with_facts(attempt, job_facts("Complete", rv=20))
    decision = decide(make_job(State.STARTING), attempt, now=after(21))
    job, attempts = apply(decision, {1: attempt})
    found = phases(job, attempts[1], now=99)
    assert [phase.name for phase in found] == ["queued", "created", "scheduled", "pulling", "running", "finishing"]
    assert [phase.started_at for phase in found] == [after(s) for s in (0, 1, 2, 3, 8, 20)]
    assert [phase.ended_at for phase in found] == [after(s) for s in (1, 2, 3, 8, 20, 21)]
    assert all(phase.deadline is None for phase in found)


def test_marks_are_the_same_in_any_order_of_arrival() -> None:
    marks = {
        with_facts(make_attempt(), *order).marks for order in itertools.permutations((SCHEDULED, PULLING, RUNNING))
    }
    assert len(marks) == 1
    assert marks.pop().pulling_at == after(3)


def test_an_ended_pod_marks_nothing_for_its_conditions_tell_of_the_teardown() -> None:
    torn_down = pod_facts(ended(1), phase="Failed", conditions=conditions(("PodReadyToStartContainers", 30)))
    assert with_facts(make_attempt(), torn_down).marks.pulling_at is None


def test_a_pod_without_a_node_is_created_and_says_why_it_waits_and_until_when() -> None:
    unschedulable = Condition(
        type="PodScheduled",
        status="False",
        reason="Unschedulable",
        message="0/3 nodes are available: 3 Insufficient cpu.",
    )
    attempt = with_facts(make_attempt(), pod_facts(node="", conditions=(unschedulable,)))
    job = make_job(State.STARTING, timeouts=Timeouts(start_seconds=300))
    last = phases(job, attempt, now=50)[-1]
    assert (last.name, last.deadline, last.ended_at) == ("created", after(300), None)
    assert "Insufficient cpu" in last.reason


def test_a_container_that_cannot_be_made_is_starting() -> None:
    missing = waiting("CreateContainerConfigError", 'secret "nope" not found')
    seen = pod_facts(missing, rv=13, conditions=conditions(("PodScheduled", 2), ("PodReadyToStartContainers", 3)))
    last = phases(make_job(State.STARTING), with_facts(make_attempt(), SCHEDULED, seen), now=50)[-1]
    assert last.name == "starting"
    assert "nope" in last.reason


def test_a_running_job_shows_its_run_deadline() -> None:
    attempt = with_facts(make_attempt(), SCHEDULED, RUNNING)
    decision = decide(make_job(State.STARTING, timeouts=Timeouts(run_seconds=100)), attempt, now=after(9))
    job, attempts = apply(decision, {1: attempt})
    last = phases(job, attempts[1], now=50)[-1]
    assert (last.name, last.deadline, last.reason) == ("running", after(108), "")


def test_a_job_that_is_stopped_has_not_ended_its_phase() -> None:
    attempt = with_facts(make_attempt(), SCHEDULED, RUNNING)
    decision = decide(make_job(State.RUNNING, cancelled=True), attempt, now=after(30))
    job, attempts = apply(decision, {1: attempt})
    last = phases(job, attempts[1], now=50)[-1]
    assert (last.name, last.ended_at, last.deadline) == ("running", None, None)
    assert last.reason == "stopping: Cancelled by ann: enough"


def test_a_retry_waits_in_the_queue_again_with_the_failure_as_its_reason() -> None:
    attempt = with_facts(make_attempt(), RUNNING, pod_facts(ended(3, start=8, end=9), phase="Failed", rv=14))
    attempt = with_facts(attempt, job_facts("Failed", rv=20))
    decision = decide(make_job(State.RUNNING, retry=Retry(attempts=2)), attempt, now=after(10))
    job, attempts = apply(decision, {1: attempt})
    found = phases(job, attempts[1], now=12)
    assert names(found)[-2:] == [(1, "finishing"), (2, "queued")]
    assert "exited with code 3" in found[-2].reason
    assert found[-1].started_at == after(10)
    assert "waiting until 2026-01-01" in found[-1].reason
    due = phases(job, attempts[1], now=60, standing="next in queue etl")
    assert due[-1].reason == "next in queue etl"


def test_a_job_that_never_left_its_queue_ended_there() -> None:
    decision = decide(make_job(cancelled=True), now=after(4), known_absent=True)
    job, _ = apply(decision, {})
    [phase] = phases(job, now=99)
    assert (phase.name, phase.ended_at) == ("queued", after(4))
    assert "Cancelled by ann" in phase.reason


def test_wrong_clocks_of_nodes_never_make_a_phase_negative() -> None:
    attempt = with_facts(make_attempt(created_at=after(100)), SCHEDULED, PULLING, RUNNING)
    attempt = observation.observe(attempt, ENDED)
    decision = decide(make_job(State.STARTING), with_facts(attempt, job_facts("Complete", rv=20)), now=after(101))
    job, attempts = apply(decision, {1: attempt})
    found = phases(job, attempts[1], now=200)
    assert all(phase.ended_at is not None and phase.ended_at >= phase.started_at for phase in found)
