"""Retries, as arithmetic: which budget a failure is charged to, and what follows."""

from __future__ import annotations

from typing import Any

import pytest

from kube_job_runner.domain.decide import retries
from kube_job_runner.domain.decide.retries import Plan
from kube_job_runner.domain.job import Verdict
from kube_job_runner.domain.names import new_job_id
from kube_job_runner.domain.spec.model import Retry, RetryRule
from kube_job_runner.domain.states import State
from tests.support.domain import JOB_ID, T0


def failed(reason: str = "ApplicationExit", cause: Any = "application", **fields: Any) -> Verdict:
    return Verdict(outcome=State.FAILED, reason=reason, cause=cause, **fields)


EXIT_3 = failed(exit_code=3)
EVICTED = failed("NodePressureEvicted", "infrastructure")
OOM = failed("OutOfMemory", exit_code=137, signal=9)
NO_IMAGE = failed("ImageNotFound", "permanent")


def plan(*history: Verdict, policy: Retry, memory: str = "") -> Plan:
    return retries.plan(history, policy=policy, job_id=JOB_ID, memory=memory)


@pytest.mark.parametrize(
    ("attempts", "policy", "seconds"),
    [
        (1, Retry(attempts=1), None),
        (1, Retry(attempts=3), 10),
        (2, Retry(attempts=3), 20),
        (3, Retry(attempts=3), None),
        (3, Retry(attempts=9, backoff_factor=1), 10),
        (7, Retry(attempts=9), 600),
        (2, Retry(attempts=9, backoff_seconds=30, max_backoff_seconds=40), 40),
        (1, Retry(attempts=9, backoff_seconds=900, max_backoff_seconds=40), 40),
        (1, Retry(attempts=9, backoff_seconds=0), 0),
        (19, Retry(attempts=20, backoff_seconds=86400, backoff_factor=10, max_backoff_seconds=86400), 86400),
    ],
)
def test_the_delay_grows_up_to_its_maximum(attempts: int, policy: Retry, seconds: float | None) -> None:
    found = plan(*[EXIT_3] * attempts, policy=policy)
    assert found.retry is (seconds is not None)
    if seconds is not None:
        assert found.delay_seconds == pytest.approx(seconds, rel=retries.JITTER)
        assert found.budget == "attempts"


def test_the_infrastructure_does_not_cost_the_user_an_attempt() -> None:
    policy = Retry(attempts=2, infrastructure_retries=2)
    assert plan(EVICTED, policy=policy).budget == "infrastructure"
    assert plan(EVICTED, EVICTED, EXIT_3, policy=policy).retry
    assert not plan(EVICTED, EXIT_3, EVICTED, EXIT_3, policy=policy).retry
    assert plan(EXIT_3, EVICTED, policy=Retry(attempts=1)).retry


def test_the_free_budget_has_its_own_cap_and_its_own_delay() -> None:
    policy = Retry(infrastructure_retries=2, backoff_seconds=10)
    second = plan(EVICTED, EVICTED, policy=policy)
    assert second.retry
    assert second.delay_seconds == pytest.approx(20, rel=retries.JITTER)
    last = plan(EVICTED, EVICTED, EVICTED, policy=policy)
    assert (last.retry, last.budget) == (False, "infrastructure")
    assert "2 free retries" in last.why
    assert plan(EVICTED, policy=Retry(infrastructure_retries=0)).why == "no free retries are allowed"


def test_a_permanent_failure_is_not_retried_and_charged_to_nobody() -> None:
    found = plan(NO_IMAGE, policy=Retry(attempts=9))
    assert (found.retry, found.budget) == (False, "")


def test_an_end_that_is_no_failure_is_followed_by_nothing() -> None:
    assert not plan(Verdict(outcome=State.CANCELLED, reason="Cancelled"), policy=Retry(attempts=9)).retry


class TestRules:
    def test_the_first_that_fits_decides(self) -> None:
        rules = (RetryRule(action="fail", exit_codes=(3,)), RetryRule(action="retry", reasons=("ApplicationExit",)))
        found = plan(EXIT_3, policy=Retry(attempts=9, rules=rules))
        assert (found.retry, found.rule) == (False, 0)
        found = plan(failed(exit_code=4), policy=Retry(attempts=9, rules=rules))
        assert (found.retry, found.rule) == (True, 1)

    def test_all_lists_of_a_rule_must_hold(self) -> None:
        rules = (RetryRule(action="fail", reasons=("KilledBySignal",), signals=("SIGSEGV",)),)
        policy = Retry(attempts=9, rules=rules)
        assert not plan(failed("KilledBySignal", exit_code=139, signal=11), policy=policy).retry
        assert plan(failed("KilledBySignal", exit_code=134, signal=6), policy=policy).retry
        assert plan(failed(signal=11), policy=policy).retry

    @pytest.mark.parametrize("name", ["OutOfMemory", "out_of_memory", "out-of-memory"])
    def test_a_reason_may_be_written_as_a_code_or_as_a_category(self, name: str) -> None:
        policy = Retry(attempts=9, rules=(RetryRule(action="fail", reasons=(name,)),))
        assert not plan(OOM, policy=policy).retry

    def test_a_permanent_failure_may_be_retried_on_the_users_account(self) -> None:
        policy = Retry(attempts=2, rules=(RetryRule(action="retry", reasons=("ImageNotFound",)),))
        assert plan(NO_IMAGE, policy=policy).budget == "attempts"
        assert not plan(NO_IMAGE, NO_IMAGE, policy=policy).retry

    def test_infrastructure_may_be_made_to_end_the_job(self) -> None:
        policy = Retry(rules=(RetryRule(action="fail", reasons=("NodePressureEvicted",)),))
        assert not plan(EVICTED, policy=policy).retry

    def test_memory_grows_up_to_its_maximum_and_then_the_job_ends(self) -> None:
        rule = RetryRule(action="grow_memory", reasons=("OutOfMemory",), factor=1.5, max_memory="2Gi")
        policy = Retry(attempts=9, rules=(rule,))
        assert plan(OOM, policy=policy, memory="1Gi").memory == "1536Mi"
        assert plan(OOM, OOM, policy=policy, memory="1536Mi").memory == "2048Mi"
        last = plan(OOM, OOM, OOM, policy=policy, memory="2048Mi")
        assert (last.retry, last.budget) == (False, "attempts")
        assert "2048Mi" in last.why

    def test_growing_is_charged_to_the_users_attempts(self) -> None:
        rule = RetryRule(action="grow_memory", reasons=("OutOfMemory",), max_memory="64Gi")
        assert not plan(OOM, OOM, policy=Retry(attempts=2, rules=(rule,)), memory="2Gi").retry

    def test_what_is_not_known_cannot_grow(self) -> None:
        rule = RetryRule(action="grow_memory", reasons=("OutOfMemory",), max_memory="64Gi")
        assert not plan(OOM, policy=Retry(attempts=2, rules=(rule,)), memory="").retry


def test_jobs_that_failed_together_do_not_come_back_together() -> None:
    policy = Retry(attempts=2)
    delays = {retries.plan([EXIT_3], policy=policy, job_id=new_job_id(T0)).delay_seconds for _ in range(50)}
    assert len(delays) > 40


def test_the_same_failure_is_decided_the_same_way_twice() -> None:
    assert plan(EXIT_3, policy=Retry(attempts=2)) == plan(EXIT_3, policy=Retry(attempts=2))


def test_a_simulation_follows_the_memory_and_marks_what_was_never_made() -> None:
    rule = RetryRule(action="grow_memory", reasons=("OutOfMemory",), max_memory="3Gi")
    policy = Retry(attempts=9, rules=(rule,))
    steps = retries.simulate([OOM, EVICTED, OOM, OOM, EXIT_3], policy=policy, job_id=JOB_ID, memory="1Gi")
    assert [(step.attempt, step.memory, step.plan.memory) for step in steps[:4]] == [
        (1, "1Gi", "2048Mi"),
        (2, "2048Mi", ""),
        (3, "2048Mi", "3072Mi"),
        (4, "3072Mi", ""),
    ]
    assert [step.plan.retry for step in steps] == [True, True, True, False, True]
    assert [step.reached for step in steps] == [True, True, True, True, False]
    assert retries.simulate([], policy=policy, job_id=JOB_ID) == []


def test_a_job_that_did_not_fail_is_not_tried_again() -> None:
    for outcome, why in ((State.SUCCEEDED, "the job has succeeded"), (State.CANCELLED, "the job was cancelled")):
        found = plan(Verdict(outcome=outcome, reason="x"), policy=Retry(attempts=9))
        assert (found.retry, found.why) == (False, why)
