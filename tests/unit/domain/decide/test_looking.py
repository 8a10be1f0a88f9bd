"""A verdict that rests on age or on absence is preceded by a look at the cluster, and no other decision is."""

from __future__ import annotations

from typing import Any

import pytest

from kube_job_runner.domain.decide import looking
from kube_job_runner.domain.decide.decision import Decision, Look
from kube_job_runner.domain.facts import JobFacts, PodFacts
from kube_job_runner.domain.job import Attempt, CancelRequest, Job, Verdict
from kube_job_runner.domain.messages import Delete
from kube_job_runner.domain.sight import Sight
from kube_job_runner.domain.spec.model import Timeouts
from kube_job_runner.domain.states import State
from tests.support.domain import (
    CLUSTER_UID,
    RULES,
    T0,
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

NOT_FOUND = 'failed to pull image "tool:1": rpc error: code = NotFound desc = not found'
STARTING = make_job(State.STARTING, timeouts=Timeouts(start_seconds=60, run_seconds=100))
RUNNING = make_job(State.RUNNING, timeouts=Timeouts(run_seconds=100))


def asks(job: Job, attempt: Attempt, seconds: float) -> Look:
    """Return the look that a decision asks for."""
    effect = decide(job, attempt, now=after(seconds), looked=False).effect
    assert isinstance(effect, Look)
    return effect


def look(job: Job, attempt: Attempt, sight: Sight, seconds: float) -> Decision:
    decision = looking.looked(job, {1: attempt}, attempt, sight, now=after(seconds), rules=RULES)
    assert not isinstance(decision.effect, Look), "one look for one verdict"
    return decision


def verdict(decision: Decision) -> Verdict:
    found = decision.attempts[0].verdict
    assert found is not None
    return found


def unhealthy() -> Attempt:
    seen = with_facts(make_attempt(), pod_facts(waiting("ErrImagePull", NOT_FOUND)))
    return apply(decide(STARTING, seen), {1: seen})[1][1]


def lost_sight_of() -> Attempt:
    """Return an attempt whose Job failed, and whose pod was last seen running."""
    seen = with_facts(make_attempt(), pod_facts(running(), phase="Running"), job_facts("Failed", rv=20))
    return apply(decide(RUNNING, seen, now=after(5)), {1: seen})[1][1]


SUCCESS = Sight(job=job_facts("Complete", rv=50), pods=(pod_facts(ended(0), phase="Succeeded", rv=49),))
EXIT_3 = Sight(
    job=job_facts("Failed", rv=50, reason="BackoffLimitExceeded"),
    pods=(pod_facts(ended(3), phase="Failed", rv=49),),
)
RUNS = Sight(job=job_facts(rv=50), pods=(pod_facts(running(40), phase="Running", rv=49),))


class TestBeforeAVerdict:
    def test_the_start_timeout_looks_first_and_a_program_that_succeeded_meanwhile_has_succeeded(self) -> None:
        attempt = with_facts(make_attempt(), pod_facts(waiting("ContainerCreating")))
        assert decide(STARTING, attempt, now=after(59), looked=False).effect is None
        assert asks(STARTING, attempt, 61).due_at == after(60)
        assert look(STARTING, attempt, SUCCESS, 61).job.state is State.SUCCEEDED
        assert look(STARTING, attempt, RUNS, 61).job.state is State.RUNNING
        same = Sight(job=job_facts(rv=50), pods=(pod_facts(waiting("ContainerCreating"), rv=11),))
        assert verdict(look(STARTING, attempt, same, 61)).reason == "StartTimeout"

    def test_a_pod_that_a_list_lacked_is_looked_at_before_it_is_called_lost(self) -> None:
        attempt = with_facts(make_attempt(started_at=after(1)), pod_facts(running(), phase="Running"))
        failed = job_facts("Failed", rv=30, reason="BackoffLimitExceeded")
        attempt = with_facts(attempt, PodFacts(uid="pod-1", gone=True), failed)
        asks(RUNNING, attempt, 50)
        there = Sight(job=failed, pods=(pod_facts(ended(3), phase="Failed", rv=40),))
        found = verdict(look(RUNNING, attempt, there, 50))
        assert (found.reason, found.exit_code) == ("ApplicationExit", 3)
        assert verdict(look(RUNNING, attempt, Sight(job=failed), 50)).reason == "PodLost"

    def test_a_grace_that_is_over_looks_first_and_an_image_that_arrived_meanwhile_runs(self) -> None:
        attempt = unhealthy()
        asks(STARTING, attempt, 46)
        arrived = look(STARTING, attempt, RUNS, 46)
        assert (arrived.job.state, arrived.messages) == (State.RUNNING, ())
        still = Sight(job=job_facts(rv=10), pods=(pod_facts(waiting("ErrImagePull", NOT_FOUND), rv=11),))
        assert look(STARTING, attempt, still, 46).job.reason == "ImageNotFound"

    def test_a_lost_pod_is_looked_for_and_its_exit_code_counts(self) -> None:
        attempt = lost_sight_of()
        asks(RUNNING, attempt, 36)
        found = look(RUNNING, attempt, EXIT_3, 36)
        assert (found.job.state, found.job.reason, found.job.exit_code) == (State.FAILED, "ApplicationExit", 3)
        gone = Sight(job=job_facts("Failed", rv=20), pods=())
        assert verdict(look(RUNNING, attempt, gone, 36)).reason == "PodLost"

    def test_the_run_timeout_looks_first(self) -> None:
        attempt = with_facts(make_attempt(), pod_facts(running(1), phase="Running"))
        asks(RUNNING, attempt, 101)
        assert look(RUNNING, attempt, SUCCESS, 101).job.state is State.SUCCEEDED
        runs_on = Sight(job=job_facts(rv=50), pods=(pod_facts(running(1), phase="Running", rv=49),))
        assert look(RUNNING, attempt, runs_on, 101).job.reason == "RunTimeout"

    def test_a_deleted_cluster_job_is_looked_for_and_one_that_is_there_was_not_deleted(self) -> None:
        attempt = with_facts(
            make_attempt(), pod_facts(running(1), phase="Running"), JobFacts(uid=CLUSTER_UID, gone=True)
        )
        asks(RUNNING, attempt, 5)
        there = look(RUNNING, attempt, RUNS, 5)
        assert (there.job.state, there.transitions) == (State.RUNNING, ())
        job, attempts = apply(there, {1: attempt})
        assert decide(job, attempts[1], now=after(6), looked=False).effect is None, "it is not asked again at once"
        other = Sight(job=job_facts(uid="another", rv=50), pods=())
        assert verdict(look(RUNNING, attempt, other, 5)).reason == "JobDeleted"
        assert verdict(look(RUNNING, attempt, Sight(), 5)).reason == "JobDeleted"

    def test_a_program_that_ended_and_whose_job_does_not_is_looked_at_before_it_is_stopped(self) -> None:
        attempt = with_facts(make_attempt(), pod_facts(ended(0), phase="Succeeded", rv=12))
        job = make_job(State.RUNNING, cancelled=True)
        asks(job, attempt, RULES.finishing_bound_seconds)
        assert look(job, attempt, SUCCESS, RULES.finishing_bound_seconds).job.state is State.SUCCEEDED

    def test_a_success_and_a_known_end_need_no_look(self) -> None:
        for sight in (SUCCESS, EXIT_3):
            assert sight.job is not None
            assert sight.pods is not None
            attempt = with_facts(make_attempt(), sight.job, *sight.pods)
            assert decide(RUNNING, attempt, now=after(500), looked=False).effect is None

    def test_pods_that_may_not_be_listed_keep_what_is_known_of_them(self) -> None:
        attempt = lost_sight_of()
        unread = look(RUNNING, attempt, Sight(job=job_facts("Failed", rv=50), pods=None), 36)
        assert verdict(unread).reason == "PodLost"
        assert not unread.attempts[0].facts.pods[0].gone


class TestWhileStopping:
    def stopping(self) -> tuple[Job, Attempt]:
        job = make_job(State.RUNNING, cancelled=True)
        attempt = with_facts(make_attempt(logs="following"), pod_facts(running(), phase="Running"))
        stopped, attempts = apply(decide(job, attempt, now=after(1)), {1: attempt})
        assert stopped.state is State.STOPPING
        return stopped, attempts[1]

    def test_the_first_delete_needs_no_look_and_its_repetition_does(self) -> None:
        job, attempt = self.stopping()
        assert decide(job, attempt, now=after(30), looked=False).effect is None
        asks(job, attempt, 1 + RULES.recheck_seconds)
        there = look(job, attempt, RUNS, 1 + RULES.recheck_seconds)
        assert [type(sent.message) for sent in there.messages] == [Delete]
        gone = look(job, attempt, Sight(), 1 + RULES.recheck_seconds)
        assert (gone.job.state, gone.messages) == (State.CANCELLED, ())

    def test_a_pod_whose_end_was_never_told_is_looked_for_soon_after_its_job_is_gone(self) -> None:
        job, attempt = self.stopping()
        gone = with_facts(attempt, job_facts(rv=30, gone=True))
        job, attempts = apply(decide(job, gone, now=after(3), looked=False), {1: gone})
        assert job.next_check_at == after(3 + RULES.pod_unseen_bound_seconds)
        asks(job, attempts[1], 3 + RULES.pod_unseen_bound_seconds)
        ended_now = look(job, attempts[1], Sight(), 3 + RULES.pod_unseen_bound_seconds)
        assert ended_now.job.state is State.CANCELLED
        assert (ended_now.anomalies, ended_now.messages) == ((), ())

    def test_nothing_is_removed_by_force_before_a_look(self) -> None:
        job, attempt = self.stopping()
        force = 1 + 30 + RULES.force_after_seconds
        asks(job, attempt, force)
        assert look(job, attempt, Sight(), force).anomalies == ()
        assert [told.kind for told in look(job, attempt, RUNS, force).anomalies] == ["RemovedByForce"]

    def test_less_grace_is_asked_for_without_a_look(self) -> None:
        job, attempt = self.stopping()
        impatient = CancelRequest(at=T0, grace_seconds=0)
        decision = decide(
            make_job(State.STOPPING, cancelled=True, version=job.version), attempt, now=after(7), looked=False
        )
        assert decision.effect is None
        hurried = Job(**{name: getattr(job, name) for name in job.__struct_fields__} | {"cancel": impatient})
        assert [type(sent.message) for sent in decide(hurried, attempt, now=after(7), looked=False).messages] == [
            Delete
        ]


class TestNoAnswer:
    def unanswered(self, job: Job, attempt: Attempt, seconds: float) -> Decision:
        due = asks(job, attempt, seconds)
        return looking.unanswered(
            job, {1: attempt}, due, why="no answer", delay_seconds=0.5, now=after(seconds), rules=RULES
        )

    def test_nothing_is_decided_and_it_is_told_and_tried_again(self) -> None:
        decision = self.unanswered(STARTING, unhealthy(), 46)
        assert (decision.job.state, decision.transitions, decision.attempts) == (State.STARTING, (), ())
        assert decision.job.explanation == "The cluster cannot be asked now, so nothing is decided: no answer"
        assert decision.job.next_check_at == after(47)

    @pytest.mark.parametrize(("seconds", "wait_seconds"), [(61, 1), (70, 5), (80, 10), (2000, 15)])
    def test_it_waits_longer_from_look_to_look_and_never_long(self, seconds: float, wait_seconds: float) -> None:
        attempt = with_facts(make_attempt(), pod_facts(waiting("ContainerCreating")))
        assert self.unanswered(STARTING, attempt, seconds).job.next_check_at == after(seconds + wait_seconds)

    def test_the_words_go_with_the_next_answer(self) -> None:
        attempt = unhealthy()
        job, attempts = apply(self.unanswered(STARTING, attempt, 46), {1: attempt})
        pulling = Sight(job=job_facts(rv=10), pods=(pod_facts(waiting("ContainerCreating"), rv=20),))
        assert look(job, attempts[1], pulling, 47).job.explanation == ""
        assert look(job, attempts[1], RUNS, 47).job.explanation == ""

    def test_the_words_go_when_a_watch_tells_what_was_asked(self) -> None:
        attempt = with_facts(make_attempt(), pod_facts(waiting("ContainerCreating")))
        job, attempts = apply(self.unanswered(STARTING, attempt, 61), {1: attempt})
        runs = with_facts(attempts[1], pod_facts(running(50), phase="Running", rv=20))
        decision = decide(job, runs, now=after(62), looked=False)
        assert (decision.job.state, decision.job.explanation) == (State.RUNNING, "")

    def test_the_words_of_a_stop_stay(self) -> None:
        job, attempt = TestWhileStopping().stopping()
        assert self.unanswered(job, attempt, 100).job.explanation == job.explanation


class TestWhatALookSays:
    def told(self, *pods: PodFacts, **fields: Any) -> tuple[bool, list[str]]:
        attempt = with_facts(make_attempt(), pod_facts(running(), phase="Running"), pod_facts(uid="pod-2", rv=12))
        found = look(RUNNING, attempt, Sight(job=job_facts(**fields), pods=pods), 101).attempts[0].facts
        assert found.job is not None
        return found.job.gone, [pod.uid for pod in found.pods if not pod.gone]

    def test_what_is_not_there_is_gone(self) -> None:
        assert self.told(pod_facts(uid="pod-2", rv=12)) == (False, ["pod-2"])

    def test_a_pod_of_another_owner_does_not_speak_for_the_attempt(self) -> None:
        assert self.told(pod_facts(uid="pod-9", rv=12, job_uid="another")) == (False, [])
        assert self.told(pod_facts(uid="pod-9", rv=12, job_uid="")) == (False, [])
        assert self.told(pod_facts(uid="pod-1", rv=12, job_uid="")) == (False, ["pod-1"])


def test_a_look_is_believed_although_the_versions_stepped_back() -> None:
    """The etcd was restored from a backup: the same uid lives on with lower versions, and ended."""
    known = with_facts(make_attempt(), job_facts(rv=1_000_400), pod_facts(running(), rv=1_000_500))
    pod = pod_facts(ended(0, end=99), phase="Succeeded", rv=900_100)
    now = job_facts("SuccessCriteriaMet", "Complete", rv=900_200)
    ended_by_it = look(RUNNING, known, Sight(job=now, pods=(pod,)), 99.5)
    assert ended_by_it.job.state is State.SUCCEEDED


def test_what_a_watch_says_of_the_old_history_undoes_nothing() -> None:
    known = with_facts(make_attempt(), job_facts(rv=1_000_400), pod_facts(running(), phase="Running", rv=1_000_500))
    stale = pod_facts(waiting("ContainerCreating"), phase="Pending", rv=900_000)
    assert with_facts(known, stale) == known
    after_it = look(RUNNING, known, Sight(job=known.facts.job, pods=known.facts.pods), 50)
    assert all(attempt.facts == known.facts for attempt in after_it.attempts)
    assert after_it.job.state is State.RUNNING
