"""What `decide` answers, one scene of a job's life at a time."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from kube_job_runner.domain.decide import creation, retries
from kube_job_runner.domain.decide.decision import Create, Decision, Find
from kube_job_runner.domain.facts import AttemptFacts, Condition, ContainerFacts, Seen
from kube_job_runner.domain.job import Attempt, Job, Verdict
from kube_job_runner.domain.messages import Delete
from kube_job_runner.domain.spec.model import Retry, RetryRule, Timeouts
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

EXIT_3 = Verdict(outcome=State.FAILED, reason="ApplicationExit", exit_code=3, cause="application")


class TestQueued:
    def test_a_due_job_is_created_under_the_name_of_its_next_attempt(self) -> None:
        decision = decide(make_job())
        assert isinstance(decision.effect, Create)
        assert decision.effect.attempt.number == 1
        assert decision.effect.attempt.cluster_name.endswith("-1")

    def test_a_due_job_that_is_not_admitted_waits_until_its_queue_deadline(self) -> None:
        decision = decide(make_job(admitted_at=None, timeouts=Timeouts(queue_seconds=60)), now=after(5))
        assert decision.effect is None
        assert decision.transitions == ()
        assert decision.job.next_check_at == after(60)

    def test_a_job_that_was_never_admitted_ends_without_a_question_to_the_cluster(self) -> None:
        cancelled = decide(make_job(admitted_at=None, cancelled=True))
        assert (cancelled.effect, cancelled.job.state) == (None, State.CANCELLED)
        late = decide(make_job(admitted_at=None, timeouts=Timeouts(queue_seconds=60)), now=after(60))
        assert (late.effect, late.job.reason) == (None, "QueueTimeout")

    def test_what_is_found_in_the_cluster_counts_as_admitted(self) -> None:
        job = make_job(admitted_at=None, cancelled=True)
        decision = creation.created(job, {}, retries.new_attempt(job, {}), job_facts(), now=after(3), rules=RULES)
        assert decision.job.admitted_at == after(3)
        assert decision.job.in_flight

    def test_a_job_waiting_for_its_retry_is_looked_at_when_it_is_due(self) -> None:
        decision = decide(make_job(attempt=1, due_at=after(30)), make_attempt(gone_at=T0), now=after(10))
        assert decision.effect is None
        assert decision.job.next_check_at == after(30)

    def test_a_cancel_first_asks_the_cluster_whether_a_create_got_through(self) -> None:
        decision = decide(make_job(cancelled=True))
        assert isinstance(decision.effect, Find)

    def test_a_cancel_ends_the_job_once_nothing_is_known_to_be_there(self) -> None:
        decision = decide(make_job(cancelled=True), known_absent=True)
        assert decision.job.state is State.CANCELLED
        assert decision.job.explanation == "Cancelled by ann: enough"
        assert decision.messages == ()

    def test_a_cancel_waits_for_a_create_that_may_still_arrive(self) -> None:
        settled = 60 + RULES.create_settle_seconds
        job = make_job(cancelled=True, create_until=after(60))
        for now in (0.1, 3, 60, settled - 0.1):
            decision = decide(job, known_absent=True, now=after(now))
            assert decision.job.state is State.QUEUED
            assert decision.job.next_check_at == after(settled)
        assert decide(job, known_absent=True, now=after(settled)).job.state is State.CANCELLED

    def test_so_does_the_queue_timeout(self) -> None:
        job = make_job(timeouts=Timeouts(queue_seconds=60), create_until=after(60))
        assert decide(job, known_absent=True, now=after(61)).job.state is State.QUEUED
        late = after(60 + RULES.create_settle_seconds)
        assert decide(job, known_absent=True, now=late).job.reason == "QueueTimeout"

    def test_a_job_that_gave_its_place_back_still_asks_for_a_create_of_unknown_outcome(self) -> None:
        job = make_job(cancelled=True, admitted_at=None, create_until=after(60))
        assert isinstance(decide(job).effect, Find)

    def test_a_cancelled_job_whose_create_got_through_is_stopped_and_its_cluster_job_deleted(self) -> None:
        job = make_job(cancelled=True)
        decision = creation.created(job, {}, retries.new_attempt(job, {}), job_facts(), now=T0, rules=RULES)
        assert [t.to_state for t in decision.transitions] == [State.STARTING, State.STOPPING]
        [delete] = [outgoing.message for outgoing in decision.messages]
        assert isinstance(delete, Delete)
        assert delete.cluster_uid == CLUSTER_UID
        assert delete.wait_for_pods

    def test_the_queue_timeout_fails_the_job_but_only_when_nothing_is_there(self) -> None:
        job = make_job(timeouts=Timeouts(queue_seconds=60), explanation="Waiting to be created: quota full")
        assert isinstance(decide(job, now=after(59)).effect, Create)
        assert isinstance(decide(job, now=after(60)).effect, Find)
        decision = decide(job, now=after(60), known_absent=True)
        assert (decision.job.state, decision.job.reason) == (State.FAILED, "QueueTimeout")
        assert "quota full" in decision.job.explanation

    @pytest.mark.parametrize(
        ("waited", "outage", "expected"),
        [(0, False, 1), (10, False, 5), (1000, False, 60), (0, True, 1), (10, True, 5), (1000, True, 10)],
    )
    def test_a_create_that_could_not_be_done_waits_half_as_long_as_it_has_waited(
        self, waited: int, outage: bool, expected: int
    ) -> None:
        now = after(waited)
        decision = creation.postponed(
            make_job(), {}, why="quota full", delay_seconds=1, outage=outage, now=now, rules=RULES
        )
        assert decision.job.state is State.QUEUED
        assert decision.job.next_check_at == after(waited + expected)
        assert decision.job.explanation == "Waiting to be created: quota full"
        assert decision.job.in_flight, "its place stays taken: the create may have got through"

    def test_a_refusal_of_the_cluster_ends_the_job_with_its_reason(self) -> None:
        verdict = Verdict(outcome=State.FAILED, reason="AdmissionDenied", explanation="The cluster refused the job: no")
        decision = creation.refused(make_job(), {}, verdict, now=T0, rules=RULES)
        assert (decision.job.state, decision.job.reason) == (State.FAILED, "AdmissionDenied")


class TestEnding:
    @pytest.mark.parametrize("state", [State.STARTING, State.RUNNING])
    def test_complete_is_success(self, state: State) -> None:
        attempt = with_facts(make_attempt(), job_facts("Complete", rv=20), pod_facts(ended(0), phase="Succeeded"))
        decision = decide(make_job(state), attempt, now=after(5))
        assert (decision.job.state, decision.job.exit_code) == (State.SUCCEEDED, 0)
        assert decision.attempts[0].finished_at == after(2)
        assert decision.job.started_at == after(1)

    def test_a_failed_job_takes_its_exit_code_from_its_pod(self) -> None:
        attempt = with_facts(make_attempt(), job_facts("Failed", rv=20), pod_facts(ended(3), phase="Failed"))
        decision = decide(make_job(State.RUNNING), attempt, now=after(5))
        assert (decision.job.state, decision.job.reason, decision.job.exit_code) == (State.FAILED, "ApplicationExit", 3)
        assert decision.job.explanation == "Container main exited with code 3."

    def test_a_failed_job_waits_for_the_facts_of_its_pod(self) -> None:
        job, attempt = make_job(State.RUNNING), with_facts(make_attempt(), job_facts("Failed", rv=20))
        first = decide(job, attempt, now=after(5))
        assert first.job.state is State.RUNNING
        assert first.job.next_check_at == after(35)
        job, attempts = apply(first, {1: attempt})
        told = with_facts(attempts[1], pod_facts(ended(3), phase="Failed"))
        assert decide(job, told, now=after(6)).job.exit_code == 3
        given_up = decide(job, attempts[1], now=after(35))
        assert (given_up.job.state, given_up.job.reason) == (State.QUEUED, "PodLost")
        assert given_up.attempts[0].verdict is not None
        assert given_up.attempts[0].verdict.cause == "infrastructure"

    def test_a_success_waits_a_moment_for_the_facts_of_its_pod(self) -> None:
        job, attempt = make_job(State.STARTING), with_facts(make_attempt(), job_facts("Complete", rv=20))
        first = decide(job, attempt, now=after(5))
        assert first.job.state is State.STARTING
        assert first.job.next_check_at == after(10)
        job, attempts = apply(first, {1: attempt})
        told = decide(job, with_facts(attempts[1], pod_facts(ended(0), phase="Succeeded")), now=after(6))
        assert (told.job.state, told.attempts[0].pod_name) == (State.SUCCEEDED, "etl-pod")
        given_up = decide(job, attempts[1], now=after(10))
        assert (given_up.job.state, given_up.job.exit_code) == (State.SUCCEEDED, 0)

    def test_finishing_is_not_finished(self) -> None:
        for condition in ("SuccessCriteriaMet", "FailureTarget"):
            attempt = with_facts(make_attempt(), job_facts(condition, rv=20), pod_facts(ended(0), phase="Succeeded"))
            assert decide(make_job(State.RUNNING), attempt, now=after(5)).job.state is State.RUNNING

    @pytest.mark.parametrize(
        ("container", "pod", "reason", "exit_code"),
        [
            (ended(137, "OOMKilled"), {}, "OutOfMemory", 137),
            (ended(137), {}, "KilledBySignal", 137),
            (ended(139), {}, "KilledBySignal", 139),
            (ended(128, "StartError", 'exec: "x": executable file not found in $PATH'), {}, "CommandNotFound", None),
            (ended(128, "StartError", "permission denied: unknown"), {}, "CommandNotExecutable", None),
            (ended(128, "StartError", "exec format error"), {}, "WrongArchitecture", None),
            (ended(128, "StartError", "cannot allocate tty"), {}, "StartFailed", None),
            (ended(137, "ContainerStatusUnknown"), {}, "NodeLost", None),
            (
                ended(137),
                {"reason": "Evicted", "message": "The node was low on resource: memory."},
                "NodePressureEvicted",
                137,
            ),
            (
                ended(143),
                {"reason": "Terminated", "message": "Pod was terminated in response to imminent node shutdown."},
                "NodeShutdown",
                143,
            ),
        ],
    )
    def test_the_cause_before_the_symptom(
        self, container: ContainerFacts, pod: dict[str, Any], reason: str, exit_code: int | None
    ) -> None:
        attempt = with_facts(
            make_attempt(),
            job_facts("Failed", rv=20, reason="BackoffLimitExceeded"),
            pod_facts(container, phase="Failed", **pod),
        )
        verdict = decide(make_job(State.RUNNING), attempt, now=after(5)).attempts[0].verdict
        assert verdict is not None
        assert (verdict.reason, verdict.exit_code) == (reason, exit_code)

    def test_a_disruption_is_not_the_programs_fault(self) -> None:
        moved = Condition(type="DisruptionTarget", reason="PreemptionByScheduler", message="preempting")
        attempt = with_facts(
            make_attempt(), job_facts("Failed", rv=20), pod_facts(ended(143), phase="Failed", conditions=(moved,))
        )
        assert decide(make_job(State.RUNNING), attempt).job.reason == "Preempted"

    def test_a_cluster_job_deleted_behind_our_back_fails_when_its_pod_has_ended(self) -> None:
        attempt = with_facts(make_attempt(), pod_facts(running(), phase="Running"), job_facts(rv=20, gone=True))
        stopping = decide(make_job(State.RUNNING), attempt, now=after(5))
        assert (stopping.job.state, stopping.job.reason) == (State.STOPPING, "JobDeleted")
        assert stopping.messages == ()
        job, attempts = apply(stopping, {1: attempt})
        gone = with_facts(attempts[1], pod_facts(ended(143), phase="Failed", rv=30, gone=True))
        decision = decide(job, gone, now=after(6))
        assert (decision.job.state, decision.job.reason) == (State.FAILED, "JobDeleted")

    def test_a_pod_that_never_reports_its_end_is_waited_for_only_so_long_after_it_was_removed_by_force(self) -> None:
        attempt = with_facts(make_attempt(), pod_facts(running(), phase="Running"), job_facts(rv=20, gone=True))
        job, attempts = apply(decide(make_job(State.RUNNING), attempt, now=after(5)), {1: attempt})
        bound = 5 + 30 + RULES.force_after_seconds + RULES.pod_gone_bound_seconds
        assert decide(job, attempts[1], now=after(bound - 1)).job.state is State.STOPPING
        assert decide(job, attempts[1], now=after(bound)).job.state is State.FAILED


class TestRetry:
    POLICY = Retry(attempts=2, backoff_seconds=10)

    def failed(self, **columns: Any) -> tuple[Decision, Attempt]:
        attempt = with_facts(make_attempt(), job_facts("Failed", rv=20), pod_facts(ended(3), phase="Failed"))
        return decide(make_job(State.RUNNING, retry=self.POLICY, **columns), attempt, now=after(5)), attempt

    def test_a_failed_attempt_is_followed_by_another_under_a_new_name(self) -> None:
        decision, attempt = self.failed()
        assert decision.job.state is State.QUEUED
        assert decision.job.reason == "ApplicationExit"
        assert after(14) <= decision.job.due_at <= after(16)
        job, attempts = apply(decision, {1: attempt})
        assert decide(job, attempts[1], now=after(16)).effect is None, "its place is given up: it waits to be admitted"
        again = decide(msgspec.structs.replace(job, admitted_at=after(16)), attempts[1], now=after(16))
        assert isinstance(again.effect, Create)
        assert again.effect.attempt.number == 2
        assert again.effect.attempt.cluster_name.endswith("-2")

    def test_a_cancelled_job_gets_no_other_attempt(self) -> None:
        decision, _ = self.failed(cancelled=True)
        assert decision.job.state is State.CANCELLED

    def test_the_last_attempt_ends_the_job(self) -> None:
        attempt = make_attempt(2)
        attempt = with_facts(
            attempt,
            job_facts("Failed", uid="cluster-uid-2", rv=20),
            pod_facts(ended(3), phase="Failed", job_uid="cluster-uid-2"),
        )
        first = make_attempt(verdict=EXIT_3, gone_at=T0)
        decision = decide(make_job(State.RUNNING, attempt=2, retry=self.POLICY), first, attempt, now=after(5))
        assert decision.job.state is State.FAILED
        assert decision.job.explanation.endswith("There is no further attempt: it was attempt 2 of 2.")

    def test_an_attempt_that_the_infrastructure_ended_is_not_charged_and_its_node_is_avoided(self) -> None:
        evicted: dict[str, Any] = {
            "phase": "Failed",
            "reason": "Evicted",
            "message": "The node was low on resource: memory.",
        }
        attempt = with_facts(make_attempt(), job_facts("Failed", rv=20), pod_facts(ended(137), **evicted))
        job, attempts = apply(decide(make_job(State.RUNNING), attempt, now=after(5)), {1: attempt})
        assert (job.state, job.reason) == (State.QUEUED, "NodePressureEvicted")
        again = decide(msgspec.structs.replace(job, admitted_at=job.due_at), attempts[1], now=job.due_at)
        assert isinstance(again.effect, Create)
        assert again.effect.avoid_nodes == ("node-1",)

    def test_a_node_is_not_avoided_when_the_user_does_not_want_it(self) -> None:
        lost = Verdict(outcome=State.FAILED, reason="NodeLost", cause="infrastructure")
        job = make_job(attempt=1, retry=Retry(avoid_failed_nodes=False))
        assert retries.nodes_to_avoid(job, {1: make_attempt(verdict=lost, node="node-1")}) == ()

    def test_memory_grows_from_attempt_to_attempt(self) -> None:
        rules = (RetryRule(action="grow_memory", reasons=("OutOfMemory",), factor=2, max_memory="4Gi"),)
        job = make_job(attempt=1, retry=Retry(attempts=5, rules=rules))
        job = msgspec.structs.replace(job, policy=msgspec.structs.replace(job.policy, memory="1Gi"))
        oom = Verdict(outcome=State.FAILED, reason="OutOfMemory", exit_code=137, cause="application")
        first = make_attempt(verdict=oom)
        second = retries.new_attempt(job, {1: first})
        assert second.memory == "2048Mi"
        job = msgspec.structs.replace(job, attempt=2)
        second = msgspec.structs.replace(second, verdict=EXIT_3)
        assert retries.new_attempt(job, {1: first, 2: second}).memory == "2048Mi"
        second = msgspec.structs.replace(second, verdict=oom)
        assert retries.new_attempt(job, {1: first, 2: second}).memory == "4096Mi"

    def test_a_success_that_overtook_a_cancel_says_so(self) -> None:
        attempt = with_facts(make_attempt(), job_facts("Complete", rv=20), pod_facts(ended(0), phase="Succeeded"))
        decision = decide(make_job(State.RUNNING, cancelled=True), attempt, now=after(5))
        assert decision.job.state is State.SUCCEEDED
        assert decision.job.explanation == (
            "A cancel was requested by ann at 2026-01-01 00:00:00 UTC; the job ended first."
        )

    def test_what_can_never_work_is_not_tried_again(self) -> None:
        attempt = with_facts(make_attempt(), pod_facts(waiting("InvalidImageName", "bad")))
        assert decide(make_job(State.STARTING, retry=self.POLICY), attempt).job.state is State.FAILED


class TestStopping:
    def test_a_cancel_of_a_running_job_stops_it_and_ends_only_when_nothing_is_left(self) -> None:
        attempt = with_facts(make_attempt(), pod_facts(running(), phase="Running"))
        stopping = decide(make_job(State.RUNNING, cancelled=True), attempt, now=after(5))
        assert stopping.job.state is State.STOPPING
        job, attempts = apply(stopping, {1: attempt})
        assert decide(job, attempts[1], now=after(30)).job.state is State.STOPPING
        gone = with_facts(attempts[1], job_facts(rv=30, deleting=True, gone=True), pod_facts(rv=29, gone=True))
        decision = decide(job, gone, now=after(31))
        assert (decision.job.state, decision.job.reason) == (State.CANCELLED, "Cancelled")
        assert decision.job.next_check_at is None
        assert decision.attempts[0].gone_at == after(31)

    def test_a_stop_tells_the_pods_at_once_with_the_grace_of_the_job(self) -> None:
        attempt = with_facts(make_attempt(logs="following"), pod_facts(running(), phase="Running"))
        job = make_job(State.RUNNING, cancelled=True)
        job = msgspec.structs.replace(job, policy=msgspec.structs.replace(job.policy, stop_grace_seconds=7))
        [delete] = [outgoing.message for outgoing in decide(job, attempt, now=after(5)).messages]
        assert isinstance(delete, Delete)
        assert (delete.pods, delete.grace_seconds, delete.wait_for_pods) == ((("etl-pod", "pod-1"),), 7, True)

    def stopped(self, *seen: Seen) -> tuple[Job, Attempt]:
        """Return a job that was cancelled at second 5 with these facts known, and whose cluster job is gone by second 6."""
        attempt = with_facts(make_attempt(), *seen)
        job, attempts = apply(decide(make_job(State.RUNNING, cancelled=True), attempt, now=after(5)), {1: attempt})
        gone = with_facts(attempts[1], job_facts(rv=30, deleting=True, gone=True))
        decision = decide(job, gone, now=after(6))
        assert decision.job.state is State.STOPPING
        job, attempts = apply(decision, {1: gone})
        return job, attempts[1]

    def test_a_pod_that_outlives_its_cluster_job_is_removed_and_waited_for(self) -> None:
        job, attempt = self.stopped()
        attempt = with_facts(attempt, pod_facts(running(), phase="Running"))  # made while the delete came in
        assert decide(job, attempt, now=after(10)).messages == (), "the garbage collector has it"
        decision = decide(job, attempt, now=after(11))
        [delete] = [outgoing.message for outgoing in decision.messages]
        assert isinstance(delete, Delete)
        assert (delete.grace_seconds, delete.pods) == (30, (("etl-pod", "pod-1"),))
        job, attempts = apply(decision, {1: attempt})
        force_at = 5 + 30 + RULES.force_after_seconds
        assert job.next_check_at == after(11 + RULES.recheck_seconds)
        forced = decide(job, attempts[1], now=after(force_at))
        assert [o.message.grace_seconds for o in forced.messages if isinstance(o.message, Delete)] == [0]
        assert [anomaly.kind for anomaly in forced.anomalies] == ["RemovedByForce"]
        ended_at_last = with_facts(attempts[1], pod_facts(rv=40, gone=True))
        assert decide(job, ended_at_last, now=after(force_at + 1)).job.state is State.CANCELLED

    def test_a_pod_that_was_never_seen_is_given_a_while_to_appear(self) -> None:
        job, attempt = self.stopped()
        bound = 6 + RULES.pod_unseen_bound_seconds
        assert job.next_check_at == after(bound)
        assert decide(job, attempt, now=after(bound - 1)).job.state is State.STOPPING
        late = with_facts(attempt, pod_facts(running(), phase="Running"))
        assert decide(job, late, now=after(bound)).job.state is State.STOPPING
        assert decide(job, attempt, now=after(bound)).job.state is State.CANCELLED

    @pytest.mark.parametrize(
        ("seen", "reason"),
        [
            (pod_facts(ended(0), phase="Succeeded"), "Completed"),
            (pod_facts(ended(3), phase="Failed"), "ApplicationExit"),
            (job_facts("SuccessCriteriaMet", rv=20), "Cancelled"),
            (job_facts("FailureTarget", rv=20), "Cancelled"),
        ],
    )
    def test_a_cancel_of_a_program_that_has_ended_waits_for_its_end_for_a_while(self, seen: Seen, reason: str) -> None:
        attempt = with_facts(make_attempt(), seen)
        waits = decide(make_job(State.RUNNING, cancelled=True), attempt, now=after(5))
        assert (waits.job.state, waits.messages) == (State.RUNNING, ())
        assert waits.job.next_check_at == after(RULES.finishing_bound_seconds)
        late = decide(waits.job, attempt, now=after(RULES.finishing_bound_seconds))
        assert (late.job.state, late.job.reason) == (State.STOPPING, reason)

    def test_a_pod_that_somebody_deletes_is_not_finishing(self) -> None:
        attempt = with_facts(make_attempt(), pod_facts(ended(143), phase="Failed", deleting=True))
        assert decide(make_job(State.RUNNING, cancelled=True), attempt, now=after(5)).job.state is State.STOPPING

    def test_the_run_timeout_of_a_program_that_has_ended_waits_for_its_end(self) -> None:
        attempt = with_facts(make_attempt(), pod_facts(ended(0), phase="Succeeded"))
        job = make_job(State.RUNNING, timeouts=Timeouts(run_seconds=60))
        waits = decide(job, attempt, now=after(61))
        assert waits.job.state is State.RUNNING
        assert waits.job.next_check_at == after(61 + RULES.finishing_bound_seconds)
        job, attempts = apply(waits, {1: attempt})
        late = decide(job, attempts[1], now=after(61 + RULES.finishing_bound_seconds))
        assert (late.job.state, late.job.reason) == (State.STOPPING, "Completed")

    def test_a_delete_that_has_not_worked_is_sent_again(self) -> None:
        attempt = with_facts(make_attempt(logs="following"), pod_facts(running(), phase="Running"))
        job, attempts = apply(decide(make_job(State.RUNNING, cancelled=True), attempt, now=after(5)), {1: attempt})
        assert decide(job, attempts[1], now=after(64)).messages == ()
        assert len(decide(job, attempts[1], now=after(65)).messages) == 1

    def test_a_job_that_finished_before_the_delete_reached_it_has_finished(self) -> None:
        attempt = with_facts(make_attempt(), pod_facts(running(), phase="Running"))
        job, attempts = apply(decide(make_job(State.RUNNING, cancelled=True), attempt, now=after(5)), {1: attempt})
        done = with_facts(attempts[1], job_facts("Complete", rv=30), pod_facts(ended(0), phase="Succeeded", rv=29))
        assert decide(job, done, now=after(6)).job.state is State.SUCCEEDED

    def test_a_job_that_ended_well_because_it_was_told_to_stop_was_cancelled(self) -> None:
        attempt = with_facts(make_attempt(), pod_facts(running(), phase="Running"))
        job, attempts = apply(decide(make_job(State.RUNNING, cancelled=True), attempt, now=after(5)), {1: attempt})
        done = with_facts(
            attempts[1], job_facts("Complete", rv=30, deleting=True, gone=True), pod_facts(ended(0), rv=29, gone=True)
        )
        assert decide(job, done, now=after(6)).job.state is State.CANCELLED

    def test_the_run_timeout_stops_the_job_and_then_fails_it(self) -> None:
        attempt = with_facts(make_attempt(), pod_facts(running(1), phase="Running"))
        job = make_job(State.RUNNING, timeouts=Timeouts(run_seconds=60))
        assert decide(job, attempt, now=after(60)).job.state is State.RUNNING
        stopping = decide(job, attempt, now=after(61))
        assert (stopping.job.state, stopping.job.reason) == (State.STOPPING, "RunTimeout")
        job, attempts = apply(stopping, {1: attempt})
        gone = with_facts(attempts[1], job_facts(rv=30, deleting=True, gone=True), pod_facts(rv=29, gone=True))
        assert (decide(job, gone, now=after(62)).job.state) is State.FAILED


def test_facts_of_another_uid_change_nothing() -> None:
    attempt = make_attempt()
    assert with_facts(attempt, job_facts("Complete", uid="somebody-else", rv=99)) == attempt
    assert with_facts(attempt, pod_facts(ended(0), job_uid="somebody-else")) == attempt


def test_a_decision_that_changes_nothing_keeps_the_version() -> None:
    attempt = with_facts(make_attempt(), pod_facts(running(2), phase="Running"))
    job, attempts = apply(decide(make_job(State.STARTING), attempt, now=after(3)), {1: attempt})
    again = decide(job, attempts[1], now=after(4))
    assert again.job == job
    assert again.attempts == ()


def test_versions_of_transitions_follow_one_another() -> None:
    job = make_job(cancelled=True)
    decision = creation.created(job, {}, retries.new_attempt(job, {}), job_facts(), now=T0, rules=RULES)
    assert [t.version for t in decision.transitions] == [8, 9]
    assert decision.job.version == 9
    assert msgspec.structs.asdict(decision.job)["state"] is State.STOPPING


def test_facts_empty_means_waiting_for_the_cluster() -> None:
    attempt = make_attempt(facts=AttemptFacts())
    decision = decide(make_job(State.STARTING, timeouts=Timeouts(start_seconds=5)), attempt, now=after(5))
    assert "has not made a pod" in decision.job.explanation


NOT_FOUND = "rpc error: code = NotFound desc = failed to resolve reference: registry.example.com/none:1: not found"


class TestStarting:
    def test_created_makes_the_job_start(self) -> None:
        job = make_job()
        decision = creation.created(job, {}, retries.new_attempt(job, {}), job_facts(), now=after(3), rules=RULES)
        assert decision.job.state is State.STARTING
        assert decision.job.attempt == 1
        assert decision.attempts[0].cluster_uid == CLUSTER_UID
        assert decision.job.next_check_at == after(900)

    def test_a_cluster_with_a_wrong_clock_cannot_put_the_create_before_it_was_due_or_into_the_future(self) -> None:
        job = make_job(due_at=after(10))
        for seconds, expected in ((-600, after(10)), (12, after(12)), (600, after(13))):
            facts = msgspec.structs.replace(job_facts(), created_at=after(seconds))
            decision = creation.created(job, {}, retries.new_attempt(job, {}), facts, now=after(13), rules=RULES)
            assert decision.attempts[0].created_at == expected

    def test_a_missing_image_fails_the_job_after_its_grace_and_removes_the_cluster_job_at_once(self) -> None:
        job = make_job(State.STARTING)
        attempt = with_facts(make_attempt(), pod_facts(waiting("ErrImagePull", NOT_FOUND)))
        first = decide(job, attempt, now=after(1))
        assert first.job.state is State.STARTING
        assert first.job.next_check_at == after(46)
        job, attempts = apply(first, {1: attempt})
        backed_off = with_facts(attempts[1], pod_facts(waiting("ImagePullBackOff", f"Back-off: {NOT_FOUND}"), rv=12))
        assert decide(job, backed_off, now=after(45)).job.state is State.STARTING
        last = decide(job, backed_off, now=after(46))
        assert (last.job.state, last.job.reason) == (State.FAILED, "ImageNotFound")
        assert "registry.example.com/none:1" in last.job.explanation
        assert [type(o.message) for o in last.messages] == [Delete]

    def test_the_grace_ends_when_the_signal_goes_away_and_starts_anew_when_it_comes_back(self) -> None:
        job = make_job(State.STARTING)
        sick = with_facts(make_attempt(), pod_facts(waiting("ErrImagePull", NOT_FOUND)))
        job, attempts = apply(decide(job, sick, now=after(1)), {1: sick})
        well = with_facts(attempts[1], pod_facts(waiting("ContainerCreating"), rv=12))
        job, attempts = apply(decide(job, well, now=after(20)), {1: well})
        assert attempts[1].unhealthy_since is None
        sick_again = with_facts(attempts[1], pod_facts(waiting("ErrImagePull", NOT_FOUND), rv=13))
        decision = decide(job, sick_again, now=after(40))
        assert decision.job.state is State.STARTING
        assert decision.job.next_check_at == after(85)

    def test_a_back_off_without_its_cause_keeps_the_cause_seen_before(self) -> None:
        job = make_job(State.STARTING)
        sick = with_facts(make_attempt(), pod_facts(waiting("ErrImagePull", NOT_FOUND)))
        job, attempts = apply(decide(job, sick, now=after(1)), {1: sick})
        bare = with_facts(attempts[1], pod_facts(waiting("ImagePullBackOff", 'Back-off pulling image "x"'), rv=12))
        job, attempts = apply(decide(job, bare, now=after(20)), {1: bare})
        assert attempts[1].unhealthy_since == after(1)

    def test_an_invalid_image_reference_fails_at_once(self) -> None:
        attempt = with_facts(make_attempt(), pod_facts(waiting("InvalidImageName", "invalid reference format")))
        decision = decide(make_job(State.STARTING), attempt)
        assert (decision.job.state, decision.job.reason) == (State.FAILED, "ImageReferenceInvalid")

    def test_an_unknown_waiting_reason_is_never_fatal(self) -> None:
        attempt = with_facts(make_attempt(), pod_facts(waiting("SomethingNew", "what?")))
        assert decide(make_job(State.STARTING), attempt, now=after(899)).job.state is State.STARTING

    def test_a_registry_that_is_away_costs_a_free_attempt_after_its_grace_and_only_once_the_pod_is_gone(self) -> None:
        away = waiting("ErrImagePull", "dial tcp 10.0.0.1:443: connect: connection refused")
        attempt = with_facts(make_attempt(), pod_facts(away))
        job, attempts = apply(decide(make_job(State.STARTING), attempt, now=after(1)), {1: attempt})
        grace_seconds = (job.next_check_at - after(1)).total_seconds() if job.next_check_at else 0
        assert 60 <= grace_seconds < 900
        late = after(1 + grace_seconds)
        stopping = decide(job, attempts[1], now=late)
        assert (stopping.job.state, stopping.job.reason) == (State.STOPPING, "RegistryUnavailable")
        assert [type(o.message) for o in stopping.messages] == [Delete]
        job, attempts = apply(stopping, attempts)
        gone = with_facts(attempts[1], job_facts(rv=30, deleting=True, gone=True), pod_facts(away, rv=29, gone=True))
        again = decide(job, gone, now=late)
        assert again.job.state is State.QUEUED
        assert "Free retry 1 of 5 follows." in again.job.explanation

    def test_the_worst_of_several_containers_decides(self) -> None:
        proxy = ContainerFacts(name="proxy", init=True, sidecar=True, state="waiting", reason="InvalidImageName")
        seen = pod_facts(waiting("ErrImagePull", NOT_FOUND))
        seen = msgspec.structs.replace(seen, containers=(*seen.containers, proxy))
        decision = decide(make_job(State.STARTING), with_facts(make_attempt(), seen))
        assert (decision.job.state, decision.job.reason) == (State.FAILED, "ImageReferenceInvalid")
        assert "proxy" in decision.job.explanation

    def test_a_permanent_fault_that_the_user_wants_retried_stops_its_pod_first(self) -> None:
        rules = (RetryRule(action="retry", reasons=("ImageReferenceInvalid",)),)
        attempt = with_facts(make_attempt(), pod_facts(waiting("InvalidImageName", "bad")))
        decision = decide(make_job(State.STARTING, retry=Retry(attempts=2, rules=rules)), attempt)
        assert decision.job.state is State.STOPPING

    def test_the_start_timeout_says_what_the_job_was_waiting_for(self) -> None:
        pulling = waiting("ContainerCreating", "pulling registry.example.com/large:1")
        attempt = with_facts(make_attempt(), pod_facts(pulling))
        decision = decide(make_job(State.STARTING, timeouts=Timeouts(start_seconds=5)), attempt, now=after(5))
        assert (decision.job.state, decision.job.reason) == (State.FAILED, "StartTimeout")
        assert "pulling registry.example.com/large:1" in decision.job.explanation
        assert [type(o.message) for o in decision.messages] == [Delete]

    def test_a_running_container_makes_the_job_run_and_sets_its_deadline(self) -> None:
        attempt = with_facts(make_attempt(), pod_facts(running(2), phase="Running"))
        decision = decide(make_job(State.STARTING, timeouts=Timeouts(run_seconds=60)), attempt, now=after(3))
        assert decision.job.state is State.RUNNING
        assert decision.job.started_at == after(2)
        assert decision.job.next_check_at == after(62)

    def test_a_node_with_a_slow_clock_takes_no_run_time_from_a_job_that_waited_for_room(self) -> None:
        bound = Condition("PodScheduled", at=after(3000))
        pod = pod_facts(running(-600), phase="Running", conditions=(bound,))
        job = make_job(State.STARTING, timeouts=Timeouts(run_seconds=100))
        decision = decide(job, with_facts(make_attempt(), pod), now=after(3010))
        assert (decision.job.state, decision.attempts[0].started_at) == (State.RUNNING, after(3000))
        assert decision.job.next_check_at == after(3100)

    def test_a_node_with_a_wrong_clock_cannot_put_the_start_into_the_future_or_before_the_create(self) -> None:
        for seconds, expected in ((600, after(3)), (-600, T0)):
            attempt = with_facts(make_attempt(), pod_facts(running(seconds), phase="Running"))
            decision = decide(make_job(State.STARTING), attempt, now=after(3))
            assert decision.attempts[0].started_at == expected
