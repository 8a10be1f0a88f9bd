"""When a cluster job is removed, with its pods and after its log."""

from __future__ import annotations

from typing import Any

import msgspec

from kube_job_runner.domain.decide import cleanup, creation, retries, strays
from kube_job_runner.domain.job import Attempt, Job, Verdict
from kube_job_runner.domain.messages import Delete, Observed
from kube_job_runner.domain.states import State
from tests.support.domain import (
    JOB_ID,
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


class TestCleanup:
    def finished(self) -> tuple[Job, dict[int, Attempt]]:
        attempt = with_facts(
            make_attempt(logs="stored"), job_facts("Complete", rv=20), pod_facts(ended(0), phase="Succeeded")
        )
        return apply(decide(make_job(State.RUNNING), attempt, now=after(5)), {1: attempt})

    def test_a_finished_cluster_job_stays_for_a_while_so_that_its_log_can_be_read(self) -> None:
        job, attempts = self.finished()
        assert job.next_check_at == after(305)
        assert decide(job, attempts[1], now=after(304)).messages == ()
        decision = decide(job, attempts[1], now=after(305))
        [delete] = [outgoing.message for outgoing in decision.messages]
        assert isinstance(delete, Delete)
        assert not delete.wait_for_pods
        assert decision.job.state is State.SUCCEEDED

    def test_a_cluster_job_whose_pod_no_watch_has_shown_yet_stays_until_its_log_can_be_read(self) -> None:
        job, attempt = make_job(State.STARTING), with_facts(make_attempt(logs=""), job_facts("Complete", rv=20))
        job, attempts = apply(decide(job, attempt, now=after(5)), {1: attempt})
        job, attempts = apply(decide(job, attempts[1], now=after(10)), attempts)
        assert job.state is State.SUCCEEDED
        assert decide(job, attempts[1], now=after(500)).messages == ()
        seen = with_facts(attempts[1], pod_facts(ended(0), phase="Succeeded"))
        assert cleanup.log_expected(seen)
        assert decide(job, seen, now=after(501)).messages == ()
        never_seen = decide(job, attempts[1], now=after(615))
        assert [type(outgoing.message) for outgoing in never_seen.messages] == [Delete]
        assert never_seen.attempts[0].logs_lost == "its pod was never seen"

    def test_the_log_of_a_complete_job_is_awaited_though_its_pod_was_last_seen_before_it_ran(self) -> None:
        pending = pod_facts(waiting("ContainerCreating"), phase="Pending")
        attempt = with_facts(make_attempt(logs=""), pending, job_facts("Complete", rv=20))
        job, attempts = apply(decide(make_job(State.STARTING), attempt, now=after(5)), {1: attempt})
        job, attempts = apply(decide(job, attempts[1], now=after(10)), attempts)
        assert job.state is State.SUCCEEDED
        assert cleanup.log_expected(attempts[1])
        assert decide(job, attempts[1], now=after(500)).messages == ()

    def test_nothing_is_looked_at_again_once_it_is_gone(self) -> None:
        job, attempts = self.finished()
        job, attempts = apply(decide(job, attempts[1], now=after(305)), attempts)
        gone = with_facts(attempts[1], job_facts("Complete", rv=40, gone=True))
        assert decide(job, gone, now=after(306)).job.next_check_at is None

    def test_contrary_evidence_is_an_anomaly_and_changes_nothing(self) -> None:
        job = make_job(State.FAILED, reason="StartTimeout")
        verdict = Verdict(outcome=State.FAILED, reason="StartTimeout")
        attempt = make_attempt(verdict=verdict, decided_at=T0, delete_requested_at=T0)
        late = with_facts(attempt, job_facts("Complete", rv=30), pod_facts(ended(0), phase="Succeeded"))
        decision = decide(job, late, now=after(1))
        assert {anomaly.kind for anomaly in decision.anomalies} == {"CompletedAfterEnd", "StartedAfterEnd"}
        assert decision.transitions == ()
        assert decision.job.state is State.FAILED

    def test_a_cluster_job_that_appears_after_the_end_is_removed(self) -> None:
        job = make_job(State.CANCELLED, attempt=0)
        seen = Observed(job_id=JOB_ID, attempt=1, seen=job_facts())
        attempt = creation.stray(job, seen, now=T0)
        assert attempt is not None
        assert [type(o.message) for o in decide(job, attempt).messages] == [Delete]
        assert creation.stray(make_job(), seen, now=T0) is None

    def test_a_stray_whose_program_runs_already_is_removed_without_its_log(self) -> None:
        """It came in one batch with its running pod: that log has no end to wait for."""
        job = make_job(State.CANCELLED, attempt=0)
        attempt = creation.stray(job, Observed(job_id=JOB_ID, attempt=1, seen=job_facts()), now=T0)
        assert attempt is not None
        attempt = with_facts(attempt, pod_facts(running(), phase="Running"))
        decision = decide(job, attempt)
        assert [type(o.message) for o in decision.messages] == [Delete]
        assert decision.attempts[0].logs_lost == "it was made after the end of its job, and removed at once"

    def test_what_starts_after_its_attempt_was_given_up_does_not_run_until_its_log_is_stored(self) -> None:
        verdict = Verdict(outcome=State.FAILED, reason="StartTimeout")
        attempt = make_attempt(verdict=verdict, decided_at=T0, logs="")
        attempt = with_facts(attempt, pod_facts(running(), phase="Running"))
        job = make_job(State.FAILED)
        assert decide(job, attempt, now=after(1)).messages == ()
        late = decide(job, attempt, now=after(RULES.log_stop_bound_seconds))
        assert [type(o.message) for o in late.messages] == [Delete]

    def test_a_second_cluster_job_of_an_attempt_is_told_by_its_uid(self) -> None:
        job, attempt = make_job(State.RUNNING), make_attempt()
        stray = strays.seen(job, attempt, job_facts(uid="second"))
        assert stray is not None
        assert (stray.cluster_uid, stray.wait_for_pods, stray.grace_seconds) == ("second", True, 30)
        pod = strays.seen(job, attempt, pod_facts(running(), phase="Running", job_uid="second", uid="p", name="n"))
        assert pod is not None
        assert (pod.cluster_uid, pod.pods) == ("second", (("n", "p"),))

    def test_no_other_object_is_taken_for_a_stray(self) -> None:
        job, attempt = make_job(State.RUNNING), make_attempt()
        others = (
            job_facts(),
            job_facts(uid="second", gone=True),
            job_facts(uid="second", deleting=True),
            pod_facts(running(), phase="Running"),
            pod_facts(running(), phase="Running", job_uid=""),
            pod_facts(ended(0), phase="Succeeded", job_uid="second"),
        )
        assert [strays.seen(job, attempt, facts) for facts in others] == [None] * len(others)
        assert strays.seen(job, make_attempt(cluster_uid=None), job_facts(uid="second")) is None

    def test_a_create_that_made_a_second_cluster_job_is_removed_though_its_attempt_is_recorded(self) -> None:
        job, attempt = make_job(State.RUNNING), make_attempt()
        decision = creation.remove_stray(job, {1: attempt}, attempt, job_facts(uid="second"), now=T0, rules=RULES)
        assert decision is not None
        assert [o.message.cluster_uid for o in decision.messages if isinstance(o.message, Delete)] == ["second"]
        assert decision.job == job, "it changes nothing of the job"
        same = job_facts(uid=attempt.cluster_uid or "")
        assert creation.remove_stray(job, {1: attempt}, attempt, same, now=T0, rules=RULES) is None

    def test_a_create_that_lost_to_a_cancel_is_removed(self) -> None:
        job = make_job(State.CANCELLED, attempt=0)
        made = retries.new_attempt(job, {})
        decision = creation.remove_stray(job, {}, made, job_facts(), now=T0, rules=RULES)
        assert decision is not None
        assert [type(o.message) for o in decision.messages] == [Delete]
        assert decision.job.state is State.CANCELLED
        assert creation.remove_stray(make_job(), {}, made, job_facts(), now=T0, rules=RULES) is None


class TestForce:
    def stopping(self, **policy: Any) -> tuple[Job, Attempt]:
        job = make_job(State.RUNNING, cancelled=True)
        job = msgspec.structs.replace(job, policy=msgspec.structs.replace(job.policy, **policy))
        attempt = with_facts(make_attempt(logs="following"), pod_facts(running(), phase="Running"))
        job, attempts = apply(decide(job, attempt, now=after(5)), {1: attempt})
        return job, attempts[1]

    def test_a_pod_that_hangs_is_removed_by_force_long_after_its_grace_and_it_is_told(self) -> None:
        job, attempt = self.stopping(stop_grace_seconds=10)
        force_at = 5 + 10 + RULES.force_after_seconds
        job, attempts = apply(decide(job, attempt, now=after(force_at - 1)), {1: attempt})
        assert job.next_check_at == after(force_at)
        forced = decide(job, attempts[1], now=after(force_at))
        [delete] = [outgoing.message for outgoing in forced.messages]
        assert isinstance(delete, Delete)
        assert (delete.grace_seconds, delete.pods) == (0, (("etl-pod", "pod-1"),))
        assert "may still run on node node-1" in forced.anomalies[0].detail

    def test_a_cancel_may_bring_its_own_grace_at_once_or_later(self) -> None:
        job, attempt = self.stopping()
        assert job.cancel is not None
        impatient = msgspec.structs.replace(job, cancel=msgspec.structs.replace(job.cancel, grace_seconds=0))
        decision = decide(impatient, attempt, now=after(7))
        [delete] = [outgoing.message for outgoing in decision.messages]
        assert isinstance(delete, Delete)
        assert (delete.grace_seconds, delete.pods) == (0, (("etl-pod", "pod-1"),))
        again = decide(decision.job, decision.attempts[0], now=after(8))
        assert again.messages == (), "what was asked for once is not asked for again at once"
