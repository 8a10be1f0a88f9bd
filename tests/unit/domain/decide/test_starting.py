"""An attempt that has not started: it waits, or is given up."""

from __future__ import annotations

import msgspec

from kube_job_runner.domain.decide import creation, next_attempt
from kube_job_runner.domain.facts import Condition, ContainerFacts
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
    job_facts,
    make_attempt,
    make_job,
    pod_facts,
    running,
    waiting,
    with_facts,
)

NOT_FOUND = "rpc error: code = NotFound desc = failed to resolve reference: registry.example.com/none:1: not found"


class TestStarting:
    def test_created_makes_the_job_start(self) -> None:
        job = make_job()
        decision = creation.created(job, {}, next_attempt.new_attempt(job, {}), job_facts(), now=after(3), rules=RULES)
        assert decision.job.state is State.STARTING
        assert decision.job.attempt == 1
        assert decision.attempts[0].cluster_uid == CLUSTER_UID
        assert decision.job.next_check_at == after(900)

    def test_a_cluster_with_a_wrong_clock_cannot_put_the_create_before_it_was_due_or_into_the_future(self) -> None:
        job = make_job(due_at=after(10))
        for seconds, expected in ((-600, after(10)), (12, after(12)), (600, after(13))):
            facts = msgspec.structs.replace(job_facts(), created_at=after(seconds))
            decision = creation.created(job, {}, next_attempt.new_attempt(job, {}), facts, now=after(13), rules=RULES)
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
        pending = Condition(
            type="PodScheduled", status="False", reason="Unschedulable", message="0/20 nodes: 20 Insufficient cpu."
        )
        attempt = with_facts(make_attempt(), pod_facts(conditions=(pending,), node=""))
        decision = decide(make_job(State.STARTING, timeouts=Timeouts(start_seconds=5)), attempt, now=after(5))
        assert (decision.job.state, decision.job.reason) == (State.FAILED, "StartTimeout")
        assert "Insufficient cpu" in decision.job.explanation
        assert [type(o.message) for o in decision.messages] == [Delete]

    def test_a_running_container_makes_the_job_run_and_sets_its_deadline(self) -> None:
        attempt = with_facts(make_attempt(), pod_facts(running(2), phase="Running"))
        decision = decide(make_job(State.STARTING, timeouts=Timeouts(run_seconds=60)), attempt, now=after(3))
        assert decision.job.state is State.RUNNING
        assert decision.job.started_at == after(2)
        assert decision.job.next_check_at == after(62)

    def test_a_node_with_a_wrong_clock_cannot_put_the_start_into_the_future_or_before_the_create(self) -> None:
        for seconds, expected in ((600, after(3)), (-600, T0)):
            attempt = with_facts(make_attempt(), pod_facts(running(seconds), phase="Running"))
            decision = decide(make_job(State.STARTING), attempt, now=after(3))
            assert decision.attempts[0].started_at == expected
