"""Waiting for room, and suspension: whose clock runs meanwhile, and what is told."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import msgspec
import pytest

from kube_job_runner.domain.decide import parking
from kube_job_runner.domain.decide.decision import Decision
from kube_job_runner.domain.facts import Condition, EventFacts, JobFacts, PodFacts, Seen
from kube_job_runner.domain.job import Attempt, Job
from kube_job_runner.domain.messages import Delete
from kube_job_runner.domain.record import sentence, timeline
from kube_job_runner.domain.spec.model import Retry, Timeouts
from kube_job_runner.domain.states import State
from tests.support.domain import (
    CLUSTER_UID,
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

DAY = 86_400
FULL = "0/3 nodes are available: 3 Insufficient cpu. preemption: 0/3 nodes are available"
NO_GPU = "0/3 nodes are available: 3 Insufficient nvidia.com/gpu."
CLOSED = "0/3 nodes are available: 3 node(s) were unschedulable."
SCALED = "scale-up: max cluster size reached"
GATED = "Scheduling is blocked due to non-empty scheduling gates"
QUOTA = 'Error creating: pods "etl-x" is forbidden: exceeded quota: compute, requested: pods=1, used: pods=100, limited: pods=100'


class Life:
    """A job that is decided about whenever something is seen, and whenever its check is due."""

    def __init__(self, state: State = State.STARTING, **job: Any) -> None:
        self.job = make_job(state, **job)
        self.attempt = make_attempt()
        self.decisions: list[Decision] = []

    def at(self, seconds: float, *seen: Seen) -> Job:
        self.attempt = with_facts(self.attempt, *seen)
        decision = decide(self.job, self.attempt, now=after(seconds))
        self.job, attempts = apply(decision, {1: self.attempt})
        self.attempt = attempts[1]
        self.decisions.append(decision)
        return self.job

    @property
    def verdict(self) -> tuple[State, str]:
        return self.job.state, self.job.reason


def unschedulable(message: str = FULL, *, reason: str = "Unschedulable", rv: int = 11) -> PodFacts:
    condition = Condition("PodScheduled", "False", reason, message, after(2))
    return pod_facts(conditions=(condition,), node="", rv=rv)


def refused(at: float, *, uid: str = "event-1", rv: int = 100, message: str = QUOTA) -> EventFacts:
    return EventFacts(
        uid=uid,
        resource_version=rv,
        object_kind="Job",
        object_uid=CLUSTER_UID,
        reason="FailedCreate",
        message=message,
        last_at=after(at),
    )


def suspended(at: float | None, *, rv: int = 20, **fields: Any) -> JobFacts:
    conditions = () if at is None else (Condition("Suspended", "True", "JobSuspended", "Job suspended", after(at)),)
    return JobFacts(
        uid=CLUSTER_UID, resource_version=rv, created_at=after(0), conditions=conditions, suspend=True, **fields
    )


def resumed(at: float, *more: Condition, rv: int = 30) -> JobFacts:
    condition = Condition("Suspended", "False", "JobResumed", "Job resumed", after(at))
    return JobFacts(
        uid=CLUSTER_UID, resource_version=rv, created_at=after(0), started_at=after(at), conditions=(condition, *more)
    )


def removed(at: float, *, rv: int, gone: bool = False, **fields: Any) -> PodFacts:
    """Return the first pod after the suspension deleted it."""
    return pod_facts(
        ended(143, end=at + 1), phase="Failed", rv=rv, deleting=True, deletion_due_at=after(at + 30),
        deletion_grace_seconds=30, gone=gone, **fields,
    )  # fmt: skip


class TestRoom:
    @pytest.mark.parametrize(
        "seen",
        [
            unschedulable(),
            unschedulable(NO_GPU),
            unschedulable(CLOSED),
            unschedulable("0/0 nodes are available"),
            unschedulable(GATED, reason="SchedulingGated"),
            refused(2),
        ],
        ids=["cpu", "gpu", "closed", "none", "gate", "quota"],
    )
    def test_a_job_that_waits_for_room_does_not_fail_by_its_start_timeout(self, seen: Seen) -> None:
        life = Life(retry=Retry(attempts=3))
        assert life.at(2, seen).next_check_at == after(DAY)
        for seconds in (899, 900, 20_000, DAY - 1):
            assert life.at(seconds).state is State.STARTING
        since = life.job.waiting_since
        assert since == after(2)
        life.at(DAY)
        assert life.verdict == (State.FAILED, "QueueTimeout")
        assert life.job.explanation.startswith("The job waited for 86400 s and did not start. ")
        assert not life.job.waiting_since
        assert [type(o.message) for o in life.decisions[-1].messages] == [Delete]

    def test_the_end_of_the_wait_says_what_the_job_waited_for(self) -> None:
        life = Life(timeouts=Timeouts(queue_seconds=60))
        life.at(2, unschedulable())
        assert "3 Insufficient cpu" in life.job.explanation
        life.at(60)
        assert life.verdict == (State.FAILED, "QueueTimeout")
        assert "3 Insufficient cpu" in life.job.explanation
        assert life.attempt.verdict is not None
        assert life.attempt.verdict.rule == "no-room"

    def test_the_start_timeout_counts_what_follows_the_wait_and_what_came_before_it(self) -> None:
        life = Life(timeouts=Timeouts(start_seconds=100))
        life.at(30, unschedulable())
        life.at(5000)
        creating = pod_facts(waiting("ContainerCreating"), rv=12)
        assert life.at(5030, creating).next_check_at == after(5100), "30 s before the wait, and 70 s after it"
        assert life.at(5099).state is State.STARTING
        life.at(5100)
        assert life.verdict == (State.FAILED, "StartTimeout")

    def test_waits_that_come_and_go_are_added_up(self) -> None:
        life = Life(timeouts=Timeouts(start_seconds=100))
        life.at(10, unschedulable())
        life.at(1010, pod_facts(waiting("ContainerCreating"), rv=12))
        life.at(1020, unschedulable(rv=13))
        life.at(2020, pod_facts(waiting("ContainerCreating"), rv=14))
        assert life.job.next_check_at == after(2100)

    def test_a_wait_without_a_fault_of_capacity_keeps_its_rule(self) -> None:
        life = Life()
        life.at(2, unschedulable("0/3 nodes are available: 3 node(s) didn't match Pod's node affinity/selector."))
        life.at(902)
        assert life.verdict == (State.FAILED, "UnschedulableConstraints")

    def test_the_quota_of_a_job_without_a_pod_counts_until_there_is_a_pod_however_rarely_it_is_told(self) -> None:
        life = Life()
        for seconds, rv in ((1, 100), (30, 101), (310, 102), (630, 103), (2000, 104)):
            life.at(seconds, refused(seconds, rv=rv))
        for seconds in (2400, 9000, 50_000):
            assert life.at(seconds).state is State.STARTING
        assert "raise the quota" in life.job.explanation
        life.at(50_001, pod_facts(waiting("ContainerCreating")))
        assert life.job.waiting_since is None
        assert life.job.next_check_at is not None
        assert after(50_890) < life.job.next_check_at <= after(50_901)

    def test_a_pod_that_a_quota_refuses_is_told_once_about_its_namespace(self) -> None:
        life = Life()
        life.at(1, refused(1))
        trial = life.decisions[-1].trial
        assert trial is not None
        assert (trial.namespace, trial.outcome, trial.reason) == ("default", "refused", parking.PODS_REFUSED)
        life.at(30, refused(30, rv=101))
        assert life.decisions[-1].trial is None
        full = Life()
        full.at(2, unschedulable())
        assert full.decisions[-1].trial is None, "full nodes are not the namespace's"

    def test_another_warning_replaces_that_of_the_quota(self) -> None:
        life = Life()
        life.at(1, refused(1))
        forbidden = 'Error creating: pods "etl-x" is forbidden: violates PodSecurity "restricted:latest": runAsNonRoot'
        life.at(400, refused(400, uid="event-2", rv=200, message=forbidden))
        assert life.verdict == (State.FAILED, "AdmissionDenied")

    def test_a_job_that_starts_waits_no_longer_and_says_nothing_of_it(self) -> None:
        life = Life()
        life.at(2, unschedulable())
        life.at(2000, pod_facts(running(1990), phase="Running", rv=12))
        assert (life.job.state, life.job.waiting_since, life.job.explanation) == (State.RUNNING, None, "")
        assert life.job.next_check_at == after(1990 + DAY)

    def test_a_cancel_ends_the_wait(self) -> None:
        life = Life()
        life.at(2, unschedulable())
        life.job = msgspec.structs.replace(life.job, cancel=make_job(cancelled=True).cancel)
        life.at(10)
        assert (life.job.state, life.job.waiting_since) == (State.STOPPING, None)

    def test_nothing_is_written_while_nothing_changes(self) -> None:
        life = Life()
        before = life.at(2, unschedulable())
        assert life.at(500) == before
        assert life.decisions[-1].attempts == ()


class TestSuspended:
    @pytest.mark.parametrize("at", [0, None], ids=["condition", "spec.suspend alone"])
    def test_a_job_that_is_held_before_its_start_waits(self, at: float | None) -> None:
        life = Life()
        life.at(2, suspended(at))
        for seconds in (600, 900, DAY - 1):
            assert life.at(seconds).state is State.STARTING
        assert "suspended" in life.job.explanation
        life.at(DAY)
        assert life.verdict == (State.FAILED, "QueueTimeout")
        assert "spec.suspend" in life.job.explanation

    def test_what_holds_a_job_is_told_again_when_more_of_it_is_known(self) -> None:
        life = Life()
        life.at(
            2, msgspec.structs.replace(suspended(1), conditions=())
        )  # the spec is changed first, the status follows
        assert "is suspended, by a queue" in life.job.explanation
        life.at(3, suspended(1, rv=21))
        assert "is suspended since 2026-01-01 00:00:01 UTC" in life.job.explanation

    def test_the_start_clock_begins_at_the_resume(self) -> None:
        life = Life()
        life.at(2, suspended(1))
        life.at(5003, resumed(5000))
        assert life.job.state is State.STARTING
        assert life.job.next_check_at == after(5000 + 900 + 3)
        life.at(5010, pod_facts(running(5009), phase="Running", created_at=after(5001)))
        assert (life.job.state, life.job.started_at) == (State.RUNNING, after(5009))

    def running(self, **job: Any) -> Life:
        life = Life(**job)
        life.at(2, pod_facts(running(1), phase="Running"))
        assert life.job.state is State.RUNNING
        return life

    def test_a_running_job_that_is_suspended_does_not_run_into_its_timeout(self) -> None:
        life = self.running(timeouts=Timeouts(run_seconds=15, queue_seconds=1000))
        life.at(4, suspended(3), removed(3, rv=21))
        for seconds, seen in ((5, ()), (16, (removed(3, rv=22, gone=True),)), (900, ()), (1002, ())):
            assert life.at(seconds, *seen).state is State.RUNNING
        assert life.job.waiting_since == after(3)
        assert "suspended since 2026-01-01 00:00:03 UTC" in life.job.explanation
        assert life.decisions[-1].anomalies == ()
        assert life.at(1002).next_check_at == after(1003), "its queue timeout counts from the suspension"
        life.at(1003)
        assert life.verdict == (State.FAILED, "QueueTimeout")
        assert life.job.explanation.startswith("The job waited for 1000 s and did not start again. ")

    def test_a_resumed_job_has_its_whole_run_timeout_again(self) -> None:
        life = self.running(timeouts=Timeouts(run_seconds=15))
        life.at(4, suspended(3), removed(3, rv=21))
        life.at(5, removed(3, rv=22, gone=True))
        life.at(1001, resumed(1000))
        assert life.job.state is State.RUNNING
        again = pod_facts(running(1005), phase="Running", uid="pod-2", name="etl-2", created_at=after(999), rv=40)
        assert life.at(1006, again).next_check_at == after(1020)
        assert (life.attempt.started_at, life.attempt.pod_name, life.job.explanation) == (after(1005), "etl-2", "")
        assert life.job.started_at == after(1), "the job keeps its first start"
        assert life.attempt.logs == "again", "its log was stored; now there is more"
        life.at(1020)
        assert life.verdict == (State.STOPPING, "RunTimeout")

    def test_a_resumed_job_whose_new_pod_finds_no_room_waits(self) -> None:
        life = self.running()
        life.at(4, suspended(3), removed(3, rv=21))
        life.at(101, resumed(100), msgspec.structs.replace(unschedulable(rv=41), uid="pod-2", created_at=after(100)))
        assert life.at(5000).state is State.RUNNING
        assert "No node has room" in life.job.explanation

    def test_a_resumed_job_that_cannot_start_again_fails(self) -> None:
        life = self.running()
        life.at(4, suspended(3), removed(3, rv=21))
        life.at(101, resumed(100))
        life.at(1001)
        assert life.verdict == (State.FAILED, "StartTimeout")

    def test_the_end_after_a_resume_is_that_of_the_new_pod(self) -> None:
        life = self.running()
        life.at(4, suspended(3), removed(3, rv=21))
        failed = Condition("Failed", "True", "BackoffLimitExceeded", "", after(110))
        life.at(111, resumed(100, failed))
        assert life.job.state is State.RUNNING, "the pod that the suspension removed did not fail the Job"
        second = pod_facts(
            ended(3, start=102, end=109), phase="Failed", uid="pod-2", name="etl-2", created_at=after(101), rv=60
        )
        life.at(112, second)
        assert (life.job.state, life.job.exit_code) == (State.FAILED, 3)

    def test_a_job_that_ended_before_the_suspension_reached_it_has_ended(self) -> None:
        life = self.running()
        done = (Condition("Suspended", "True"), Condition("Complete", "True", at=after(5)))
        life.at(6, pod_facts(ended(0, end=4), phase="Succeeded", rv=20), job_facts(rv=21))
        life.at(7, JobFacts(uid=CLUSTER_UID, resource_version=22, conditions=done, suspend=True))
        assert (life.job.state, life.job.exit_code) == (State.SUCCEEDED, 0)

    def test_a_suspended_job_that_is_cancelled_is_stopped(self) -> None:
        life = self.running()
        life.at(4, suspended(3), removed(3, rv=22, gone=True))
        life.job = msgspec.structs.replace(life.job, cancel=make_job(cancelled=True).cancel)
        life.at(5)
        assert life.verdict == (State.STOPPING, "Cancelled")
        life.at(6, suspended(3, rv=40, deleting=True, gone=True))
        assert life.job.state is State.CANCELLED

    def test_a_suspended_job_that_is_deleted_has_been_deleted(self) -> None:
        life = self.running()
        life.at(4, suspended(3), removed(3, rv=22, gone=True))
        life.at(6, suspended(3, rv=40, gone=True))
        assert life.job.reason == "JobDeleted"

    def test_the_order_of_the_news_does_not_matter(self) -> None:
        last = {}
        news: list[Seen] = [removed(3, rv=21), suspended(3), removed(3, rv=22, gone=True)]
        for order in ([0, 1, 2], [1, 0, 2], [2, 1, 0], [1, 2, 0]):
            life = self.running()
            for seconds, index in enumerate(order, 4):
                life.at(seconds, news[index])
            last[tuple(order)] = (life.job.state, life.job.reason, life.job.next_check_at)
        assert len(set(last.values())) == 1

    @pytest.mark.parametrize("started", [False, True])
    def test_it_is_told_in_a_sentence(self, started: bool) -> None:
        life = self.running() if started else Life()
        life.at(4, suspended(3), *([removed(3, rv=21)] if started else []))
        attempts: dict[int, Attempt] = {1: life.attempt}
        now: datetime = after(60)
        phases = timeline.timeline(life.job, attempts, now=now)
        text = sentence.sentence(life.job, attempts, phases)
        assert "suspended since 2026-01-01 00:00:03 UTC" in text
        assert "Running since" not in text
        assert phases[-1].deadline == (after(3 + DAY) if started else after(DAY))

    def test_a_suspension_that_is_taken_back_before_the_controller_acts_leaves_no_words(self) -> None:
        life = self.running()
        life.at(4, suspended(None))
        assert "suspended" in life.job.explanation
        life.at(5, JobFacts(uid=CLUSTER_UID, resource_version=30, created_at=after(0)))
        assert (life.job.state, life.job.explanation, life.attempt.unhealthy_reason) == (State.RUNNING, "", "")
