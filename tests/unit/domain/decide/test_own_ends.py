"""Whose end it is: what the program did itself, what was done to it, and what other containers did."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from kube_job_runner.domain.decide import program_end
from kube_job_runner.domain.decide.decision import Decision
from kube_job_runner.domain.facts import Condition, ContainerFacts, ContainerState, JobFacts, PodFacts, Seen, join_pods
from kube_job_runner.domain.job import Attempt, CancelRequest, Job, Verdict
from kube_job_runner.domain.messages import Delete
from kube_job_runner.domain.spec.model import Retry, Timeouts
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

THREE = Retry(attempts=3)
EVICTED = Condition(type="DisruptionTarget", reason="EvictionByEvictionAPI", message="Eviction API: evicting", at=T0)


def side(name: str = "proxy", code: int | None = None, *, at: float = 60, **fields: Any) -> ContainerFacts:
    """Return a container that is not the job's own: running, or ended with a code at that second."""
    state: ContainerState = "running" if code is None else "terminated"
    finished_at = None if code is None else after(at)
    reason = "Error" if code else ""
    return ContainerFacts(
        name=name, state=state, reason=reason, exit_code=code, started_at=after(1), finished_at=finished_at, **fields
    )


def pod(*containers: ContainerFacts, phase: str = "Running", **fields: Any) -> PodFacts:
    return msgspec.structs.replace(pod_facts(phase=phase, **fields), containers=containers)


def deleted(*containers: ContainerFacts, at: float, grace: int = 30, **fields: Any) -> PodFacts:
    """Return a pod whose deletion was requested at that second."""
    due_at = after(at + grace)
    return pod(*containers, deleting=True, deletion_due_at=due_at, deletion_grace_seconds=grace, **fields)


class Play:
    """A job whose observations and checks come one after the other."""

    def __init__(self, job: Job, attempt: Attempt | None = None) -> None:
        self.job = job
        self.attempts = {1: attempt or make_attempt()}

    def at(self, seconds: float, *seen: Seen) -> Decision:
        attempt = with_facts(self.attempts[1], *seen)
        decision = decide(self.job, attempt, now=after(seconds))
        self.job, self.attempts = apply(decision, {1: attempt})
        return decision

    @property
    def end(self) -> tuple[State, str, int | None]:
        return self.job.state, self.job.reason, self.job.exit_code

    @property
    def verdict(self) -> Verdict:
        found = self.attempts[1].verdict
        assert found is not None
        return found


def running_job(**fields: Any) -> Play:
    return Play(make_job(State.RUNNING, **fields))


GONE = JobFacts(uid=CLUSTER_UID, gone=True)


class TestOwnEndAgainstOurDelete:
    """What ended by itself keeps its end, although our delete was seen first."""

    def stopping(self, *, cancelled_at: float | None = None) -> Play:
        play = running_job(timeouts=Timeouts(run_seconds=3600), retry=THREE)
        if cancelled_at is not None:
            request = CancelRequest(at=after(cancelled_at), by="ann")
            play.job = msgspec.structs.replace(play.job, cancel=request)
        play.at(5 if cancelled_at is None else cancelled_at, pod(running()))
        play.at(3601)
        assert play.job.state is State.STOPPING
        return play

    @pytest.mark.parametrize("cancelled_at", [None, 3000.0], ids=["timeout", "cancel"])
    @pytest.mark.parametrize("grace", [30, 0])
    @pytest.mark.parametrize(("code", "reason"), [(0, "Completed"), (3, "ApplicationExit")])
    def test_an_end_before_the_deletion_by_the_times_of_the_evidence(
        self, cancelled_at: float | None, grace: int, code: int, reason: str
    ) -> None:
        play = self.stopping(cancelled_at=cancelled_at)
        phase = "Failed" if code else "Succeeded"
        play.at(3700, deleted(ended(code, end=600), at=3695, grace=grace, phase=phase, rv=50))
        play.at(3702, deleted(ended(code, end=600), at=3695, grace=grace, phase=phase, rv=52, gone=True), GONE)
        assert (play.verdict.reason, play.verdict.exit_code) == (reason, code)
        if code == 0:
            assert play.end == (State.SUCCEEDED, "Completed", 0)
        else:
            assert play.job.state is (State.QUEUED if cancelled_at is None else State.CANCELLED)

    @pytest.mark.parametrize("end", [3695, 3696, 3720], ids=["same second", "after", "late"])
    @pytest.mark.parametrize("grace", [30, 0])
    def test_an_end_after_the_deletion_is_that_of_the_stop(self, end: float, grace: int) -> None:
        play = self.stopping()
        play.at(3700, deleted(running(), at=3695, rv=50))
        gone = deleted(ended(0, end=end), at=end + 1 if grace == 0 else 3695, grace=grace, phase="Succeeded", rv=52)
        play.at(3730, msgspec.structs.replace(gone, gone=True), GONE)
        assert play.verdict.reason == "RunTimeout"

    def test_the_first_request_is_kept_when_the_kubelet_deletes_without_a_grace_period(self) -> None:
        first = deleted(running(), at=100, rv=20)
        last = deleted(ended(7, end=101), at=102, grace=0, phase="Failed", rv=30)
        for joined in (join_pods(first, last), join_pods(last, first)):
            assert joined.deletion_requested_at == after(100)
            assert not program_end.ended_by_itself(joined)
        assert not program_end.ended_by_itself(last), "alone, it does not tell when the deletion was requested"

    def test_what_an_earlier_version_showed_is_kept(self) -> None:
        first = pod(ended(0, end=104), rv=20)  # by a clock that is ahead
        last = deleted(ended(0, end=104), at=101, phase="Succeeded", rv=30)
        for joined in (join_pods(first, last), join_pods(last, first), join_pods(join_pods(last, first), GONE_POD)):
            assert joined.ended_first
            assert program_end.ended_by_itself(joined)
        assert not program_end.ended_by_itself(last)

    def test_a_clock_of_a_node_that_is_behind_makes_no_own_end(self) -> None:
        stopped = ended(0, start=-20, end=80)  # started 20 s before its pod was created
        assert not program_end.ended_by_itself(deleted(stopped, at=95, phase="Succeeded"))

    @pytest.mark.parametrize("code", [137, 143])
    def test_a_stop_signal_just_before_the_deletion_is_the_stop(self, code: int) -> None:
        assert not program_end.ended_by_itself(deleted(ended(code, end=98), at=100))
        assert program_end.ended_by_itself(deleted(ended(code, end=60), at=100))

    def test_an_end_that_nobody_saw_or_without_a_time_proves_nothing(self) -> None:
        timeless = msgspec.structs.replace(ended(0), finished_at=None)
        assert not program_end.ended_by_itself(deleted(timeless, at=100, phase="Succeeded"))
        assert not program_end.ended_by_itself(deleted(ended(137, "ContainerStatusUnknown"), at=100))
        restarted = msgspec.structs.replace(ended(0, end=99), restarts=1)
        assert not program_end.ended_by_itself(deleted(restarted, at=90, ended_first=True))

    def test_the_time_of_complete_counts_when_the_pod_was_not_seen_to_end(self) -> None:
        play = self.stopping()
        done = (Condition("SuccessCriteriaMet", at=after(600)), Condition("Complete", at=after(601)))
        complete = JobFacts(uid=CLUSTER_UID, resource_version=51, conditions=done, deleting=True)
        play.at(3700, complete)
        play.at(3702, msgspec.structs.replace(complete, gone=True), pod(running(), rv=60, gone=True))
        assert play.end == (State.SUCCEEDED, "Completed", 0)


GONE_POD = PodFacts(uid="pod-1", gone=True)


class TestOwnEndAgainstTheJob:
    @pytest.mark.parametrize(
        ("seen", "end"),
        [
            (pod(ended(0, end=59), phase="Succeeded", rv=20), (State.SUCCEEDED, "Completed", 0)),
            (pod(ended(3, end=59), phase="Failed", rv=20), (State.FAILED, "ApplicationExit", 3)),
            (pod(phase="Succeeded", rv=20), (State.SUCCEEDED, "Completed", 0)),
        ],
        ids=["succeeded", "failed", "no container statuses"],
    )
    def test_a_job_that_somebody_deleted_after_its_program_had_ended(
        self, seen: PodFacts, end: tuple[State, str, int]
    ) -> None:
        play = running_job()
        play.at(5, pod(running()))
        play.at(60, seen)
        play.at(400, GONE)
        assert play.end == end

    def test_a_run_timeout_waits_for_the_job_of_a_program_that_ended_in_time(self) -> None:
        play = running_job(timeouts=Timeouts(run_seconds=30))
        play.at(5, pod(running()))
        play.at(30, pod(ended(0, end=29), rv=20))
        assert play.at(31).job.state is State.RUNNING
        play.at(33, job_facts("SuccessCriteriaMet", "Complete", rv=30), pod(ended(0, end=29), phase="Succeeded", rv=25))
        assert play.end == (State.SUCCEEDED, "Completed", 0)
        assert play.attempts[1].finished_at == after(29)

    @pytest.mark.parametrize(("code", "reason"), [(0, "Completed"), (3, "ApplicationExit")])
    def test_without_the_end_of_its_job_the_end_of_the_program_counts_after_a_bound(
        self, code: int, reason: str
    ) -> None:
        play = running_job(timeouts=Timeouts(run_seconds=30))
        play.at(5, pod(running()))
        play.at(30, pod(ended(code, end=29), phase="Failed" if code else "Succeeded", rv=20))
        play.at(30 + RULES.finishing_bound_seconds)
        assert (play.job.state, play.verdict.reason, play.verdict.exit_code) == (State.STOPPING, reason, code)


class TestOtherContainers:
    def test_a_container_that_keeps_the_pod_is_stopped_after_a_bound_and_named(self) -> None:
        play = running_job(retry=THREE)
        play.at(5, pod(running(), side()))
        waits = play.at(70, pod(ended(0, end=60), side(), rv=20))
        assert "proxy still runs" in waits.job.explanation
        until = 70 + RULES.finishing_bound_seconds + play.job.policy.stop_grace_seconds
        assert waits.job.next_check_at == after(until)
        stop = play.at(until)
        assert play.job.state is State.STOPPING
        assert [type(outgoing.message) for outgoing in stop.messages] == [Delete]
        play.at(until + 9, pod(ended(0, end=60), side(code=143, at=until), phase="Failed", rv=30, gone=True), GONE)
        assert play.end == (State.SUCCEEDED, "Completed", 0)
        assert "proxy" in play.job.explanation
        assert play.attempts[1].finished_at == after(60)

    def test_a_program_that_failed_beside_it_is_retried_for_its_own_end(self) -> None:
        play = running_job(retry=THREE)
        play.at(70, pod(ended(3, end=60), side(), rv=20))
        play.at(170)
        play.at(180, pod(ended(3, end=60), side(code=137, at=171), phase="Failed", rv=30, gone=True), GONE)
        assert (play.job.state, play.verdict.exit_code, play.verdict.cause) == (State.QUEUED, 3, "application")

    def test_a_container_that_fails_beside_a_good_program_is_named_and_not_charged(self) -> None:
        play = running_job(retry=THREE)
        play.at(9, pod(ended(0, end=3), side(code=9, at=2), phase="Failed", rv=20), job_facts("Failed", rv=21))
        assert play.end == (State.FAILED, "OtherContainerFailed", 0)
        assert "proxy exited with code 9" in play.job.explanation
        assert play.verdict.cause == "permanent"

    def test_the_job_fails_first_and_the_last_state_of_the_pod_is_waited_for(self) -> None:
        play = running_job()
        play.at(50, pod(running(), side(code=1, at=40)))
        assert play.at(100, job_facts("Failed", rv=30)).job.state is State.RUNNING
        oom = ended(137, "OOMKilled", end=99)
        play.at(101, pod(oom, side(code=1, at=40), phase="Failed", rv=29))
        assert play.end == (State.FAILED, "OutOfMemory", 137)

    def test_without_that_state_no_other_container_is_blamed(self) -> None:
        play = running_job()
        play.at(50, pod(running(), side(code=1, at=40)))
        play.at(100, job_facts("Failed", rv=30))
        play.at(100 + RULES.evidence_grace_seconds)
        assert (play.verdict.reason, play.verdict.exit_code) == ("PodLost", None)

    def test_a_native_sidecar_speaks_for_nothing(self) -> None:
        play = running_job()
        proxy = side(code=143, init=True, sidecar=True)
        play.at(9, pod(ended(0, end=3), proxy, phase="Succeeded", rv=20), job_facts("Complete", rv=21))
        assert play.end == (State.SUCCEEDED, "Completed", 0)

    def test_of_two_pods_the_one_that_succeeded_speaks(self) -> None:
        play = running_job()
        first = pod(ended(0, end=9), phase="Succeeded", rv=20)
        second = pod(running(8), uid="pod-2", created_at=after(7), rv=21)
        play.at(12, first, second, job_facts("Complete", rv=22))
        play.at(20)
        assert (play.job.exit_code, play.attempts[1].finished_at) == (0, after(9))

    def test_a_cancel_does_not_wait_for_a_container_that_keeps_the_pod(self) -> None:
        play = running_job()
        play.at(70, pod(ended(0, end=60), side(), rv=20))
        play.job = msgspec.structs.replace(play.job, cancel=CancelRequest(at=after(80), by="ann"))
        assert [type(outgoing.message) for outgoing in play.at(80).messages] == [Delete]
        assert (play.job.state, play.verdict.reason) == (State.STOPPING, "Completed")

    @pytest.mark.parametrize("how", ["deleted", "evicted"])
    def test_a_pod_that_another_container_kept_is_removed_and_the_end_of_the_program_stays(self, how: str) -> None:
        moved = msgspec.structs.replace(EVICTED, at=after(80), reason="TerminationByKubelet")
        why: dict[str, Any] = {"phase": "Failed", "rv": 30, "reason": "Evicted", "conditions": (moved,)}
        removed = pod(ended(0, end=60), side(code=137, at=81), **why)
        if how == "deleted":
            removed = deleted(ended(0, end=60), side(code=137, at=81), at=80, phase="Failed", rv=30)
        play = running_job(retry=THREE)
        play.at(70, pod(ended(0, end=60), side(), rv=20))
        play.at(82, removed, job_facts("Failed", rv=31))
        assert play.end == (State.SUCCEEDED, "Completed", 0)

    def test_an_end_that_a_node_no_longer_knows_is_kept(self) -> None:
        play = running_job()
        play.at(70, pod(ended(3, end=60), rv=20))
        unknown = ended(137, "ContainerStatusUnknown")
        play.at(71, pod(unknown, phase="Failed", rv=30), job_facts("Failed", rv=31))
        assert play.end == (State.FAILED, "ApplicationExit", 3)


class TestWhoStoppedIt:
    def test_a_pod_that_somebody_deletes_costs_no_attempt_of_the_user(self) -> None:
        play = running_job(retry=Retry(attempts=1))
        play.at(5, pod(running()))
        play.at(60, deleted(running(), at=60, rv=20))
        play.at(62, deleted(ended(143, end=61), at=60, phase="Failed", rv=21), job_facts("Failed", rv=22))
        assert (play.job.state, play.verdict.reason, play.verdict.cause) == (
            State.QUEUED, "PodDeleted", "infrastructure",
        )  # fmt: skip
        assert "Somebody deleted the pod" in play.job.explanation
        assert play.verdict.exit_code == 143

    def test_a_job_that_somebody_deletes_is_told_as_that(self) -> None:
        play = running_job()
        play.at(5, pod(running()))
        play.at(
            62, deleted(ended(143, end=61), at=60, phase="Failed", rv=21), job_facts("Failed", rv=22, deleting=True)
        )
        assert play.verdict.reason == "JobDeleted"

    def test_an_eviction_after_the_end_of_the_program_is_not_its_cause(self) -> None:
        late = msgspec.structs.replace(EVICTED, at=after(60))
        play = running_job()
        play.at(
            70, deleted(ended(3, end=30), at=60, phase="Failed", rv=21, conditions=(late,)), job_facts("Failed", rv=22)
        )
        assert (play.verdict.reason, play.verdict.exit_code) == ("ApplicationExit", 3)
        early = msgspec.structs.replace(EVICTED, at=after(20))
        play = running_job()
        play.at(
            70, deleted(ended(3, end=30), at=20, phase="Failed", rv=21, conditions=(early,)), job_facts("Failed", rv=22)
        )
        assert (play.verdict.reason, play.verdict.cause) == ("Disrupted", "infrastructure")

    def test_a_pod_that_its_node_never_ends_is_lost_after_a_bound_and_retried_for_free(self) -> None:
        play = running_job(retry=Retry(attempts=1))
        play.at(5, pod(running()))
        play.at(400, deleted(running(), at=400, rv=20, conditions=(EVICTED,)))
        silent_at = 430 + RULES.force_after_seconds
        assert play.job.next_check_at == after(silent_at)
        assert play.at(silent_at - 1).job.state is State.RUNNING
        play.at(silent_at)
        assert (play.job.state, play.verdict.reason, play.verdict.cause) == (
            State.STOPPING, "NodeLost", "infrastructure",
        )  # fmt: skip
        play.at(silent_at + 200, GONE, pod(running(), rv=30, gone=True))
        assert play.job.state is State.QUEUED


class TestWhatItsPodSaid:
    """The pod failed before anybody deleted anything, and its Job does not tell it: it is gone, or its controller is away."""

    INIT_FAILED = pod(
        side("fetch", 7, at=5, init=True), waiting("PodInitializing"), phase="Failed", node="node-1", rv=20
    )
    PRESSURE = pod(running(), phase="Failed", reason="Evicted", message="The node was low on resource: memory.", rv=20)

    @pytest.mark.parametrize(
        ("failed", "reason"), [(INIT_FAILED, "OtherContainerFailed"), (PRESSURE, "NodePressureEvicted")]
    )
    def test_it_counts_when_the_job_was_deleted_unseen(self, failed: PodFacts, reason: str) -> None:
        play = Play(make_job(State.STARTING))
        play.at(6, failed)
        play.at(300, job_facts(rv=40, gone=True), PodFacts(uid="pod-1", gone=True))
        assert play.end == (State.QUEUED, reason, None), "a free retry"

    def test_a_pod_that_failed_because_its_job_was_deleted_tells_only_that(self) -> None:
        play = running_job()
        play.at(20, deleted(ended(143, end=20), at=19, phase="Failed", rv=20))
        play.at(21, job_facts(rv=40, gone=True))
        assert play.job.reason == "JobDeleted"

    def test_it_counts_when_the_job_never_tells_its_end(self) -> None:
        starts = Play(make_job(State.STARTING, timeouts=Timeouts(start_seconds=60)))
        starts.at(6, self.INIT_FAILED)
        starts.at(61)
        assert (starts.job.state, starts.job.reason) == (State.STOPPING, "OtherContainerFailed")
        runs = running_job(timeouts=Timeouts(run_seconds=100))
        runs.at(50, self.PRESSURE)
        runs.at(100)
        runs.at(400)
        assert (runs.job.state, runs.job.reason) == (State.STOPPING, "NodePressureEvicted")


class TestNotices:
    @pytest.mark.parametrize(
        ("seen", "notice"),
        [
            (deleted(ended(0, end=12), at=10, phase="Succeeded", conditions=(EVICTED,)), "being moved off node node-1"),
            (deleted(ended(0, end=12), at=10, phase="Succeeded"), "being deleted"),
            (pod(ended(0, "OOMKilled"), phase="Succeeded"), "OOMKilled"),
            (pod(ended(0), phase="Succeeded"), ""),
            (deleted(ended(0, end=5), at=10, phase="Succeeded"), ""),
        ],
    )
    def test_a_success_says_what_the_cluster_did_to_it(self, seen: PodFacts, notice: str) -> None:
        play = running_job()
        play.at(20, seen, job_facts("Complete", rv=20))
        assert play.end == (State.SUCCEEDED, "Completed", 0)
        assert notice in play.job.explanation
        assert bool(play.job.explanation) == bool(notice)


class TestOwners:
    def test_a_pod_that_our_job_does_not_control_never_speaks(self) -> None:
        attempt = make_attempt()
        copy = pod_facts(waiting("InvalidImageName", "bad"), uid="copy", job_uid="", created_at=after(4), rv=12)
        assert with_facts(attempt, copy) == attempt
        own = with_facts(attempt, pod_facts(waiting("ContainerCreating")))
        assert with_facts(own, copy) == own

    def test_a_pod_of_ours_that_was_orphaned_stays_ours(self) -> None:
        attempt = with_facts(make_attempt(), pod(running()), pod(ended(0, end=9), phase="Succeeded", rv=20, job_uid=""))
        assert attempt.facts.pod is not None
        assert (attempt.facts.pod.phase, attempt.facts.pod.job_uid) == ("Succeeded", CLUSTER_UID)


class TestLastWords:
    RUNTIME = 'OCI runtime exec failed: exec failed: exec: "psql": executable file not found in $PATH: unknown'

    @pytest.mark.parametrize(
        ("message", "start", "end", "reason"),
        [
            (RUNTIME, 1, 604, "ApplicationExit"),
            (
                'failed to start container "web": Error response from daemon: port is already allocated',
                1,
                1,
                "ApplicationExit",
            ),
            ("failed to create containerd task: exec: no such file or directory", 1, 1, "ApplicationExit"),
            ("exec /app/run: exec format error", 1, 30, "ApplicationExit"),
            ("exec /app/run: exec format error", 1, 1, "WrongArchitecture"),
        ],
    )
    def test_a_program_that_ran_is_never_judged_as_a_failed_start(
        self, message: str, start: float, end: float, reason: str
    ) -> None:
        play = running_job()
        play.at(
            700, pod(ended(1, message=message, start=start, end=end), phase="Failed", rv=20), job_facts("Failed", rv=21)
        )
        assert (play.verdict.reason, play.verdict.exit_code) == (reason, 1)

    def test_the_words_of_the_kubelet_are_not_those_of_the_program(self) -> None:
        message = "Error on reading termination message from logs: failed to try resolving symlinks in path"
        play = running_job()
        play.at(9, pod(ended(3, message=message), phase="Failed", rv=20), job_facts("Failed", rv=21))
        assert play.job.explanation == "Container main exited with code 3."
