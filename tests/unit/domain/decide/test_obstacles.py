"""Diagnosis where no status speaks: events, and how long they count."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from kube_job_runner.domain.decide import obstacles
from kube_job_runner.domain.facts import Condition, ContainerFacts, EventFacts
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
    waiting,
    with_facts,
)

POD_SECURITY = (
    'Error creating: pods "etl-x" is forbidden: violates PodSecurity "restricted:latest": runAsNonRoot != true '
    '(pod or container "main" must set securityContext.runAsNonRoot=true)'
)
NO_CONFIG_MAP = 'MountVolume.SetUp failed for volume "v" : configmap "nope" not found'


def event(reason: str, message: str, *, kind: str = "Pod", at: float = 1, **fields: Any) -> EventFacts:
    uid = CLUSTER_UID if kind == "Job" else "pod-1"
    defaults: dict[str, Any] = {"uid": f"event-{reason}", "resource_version": 5, "object_uid": uid}
    return EventFacts(**(defaults | fields), object_kind=kind, reason=reason, message=message, last_at=after(at))


class TestJobWithoutPod:
    def test_a_pod_that_policy_forbids_fails_the_job_though_no_status_says_so(self) -> None:
        attempt = with_facts(make_attempt(), event("FailedCreate", POD_SECURITY, kind="Job"))
        decision = decide(make_job(State.STARTING), attempt, now=after(2))
        assert (decision.job.state, decision.job.reason) == (State.FAILED, "AdmissionDenied")
        assert "runAsNonRoot" in decision.job.explanation

    def test_once_there_is_a_pod_the_events_of_the_job_are_over(self) -> None:
        attempt = with_facts(
            make_attempt(), event("FailedCreate", POD_SECURITY, kind="Job"), pod_facts(waiting("ContainerCreating"))
        )
        assert decide(make_job(State.STARTING), attempt, now=after(2)).job.state is State.STARTING

    def test_an_event_of_another_job_of_that_name_says_nothing(self) -> None:
        other = event("FailedCreate", POD_SECURITY, kind="Job", object_uid="another")
        assert decide(make_job(State.STARTING), with_facts(make_attempt(), other)).job.state is State.STARTING


class TestPodEvents:
    CREATING = pod_facts(waiting("ContainerCreating"))

    def test_a_missing_volume_source_is_told_by_its_event_alone(self) -> None:
        attempt = with_facts(make_attempt(), self.CREATING, event("FailedMount", NO_CONFIG_MAP))
        found = obstacles.obstacle(attempt.facts, now=after(2))
        assert found is not None
        assert found.finding.reason == "ConfigMissing"
        assert found.until == after(1 + obstacles.EVENT_FRESH_SECONDS)
        assert "nope" in obstacles.waiting_for(attempt.facts, now=after(2))

    def test_an_event_that_was_not_repeated_is_over(self) -> None:
        attempt = with_facts(make_attempt(), self.CREATING, event("FailedMount", NO_CONFIG_MAP))
        assert obstacles.obstacle(attempt.facts, now=after(1 + obstacles.EVENT_FRESH_SECONDS)) is None

    def test_the_job_is_looked_at_again_when_the_event_is_over(self) -> None:
        attempt = with_facts(make_attempt(), self.CREATING, event("FailedMount", NO_CONFIG_MAP, at=-200))
        next_check_at = decide(make_job(State.STARTING), attempt, now=after(2)).job.next_check_at
        assert next_check_at is not None
        assert next_check_at <= after(100)

    def test_a_pod_whose_volumes_are_there_is_past_its_events(self) -> None:
        ready = Condition(type="PodReadyToStartContainers", at=after(2))
        seen = pod_facts(waiting("ContainerCreating"), conditions=(ready,))
        attempt = with_facts(make_attempt(), seen, event("FailedMount", NO_CONFIG_MAP))
        assert obstacles.obstacle(attempt.facts, now=after(2)) is None

    def test_what_a_container_says_goes_before_what_an_event_says(self) -> None:
        seen = pod_facts(waiting("InvalidImageName", "bad"))
        attempt = with_facts(make_attempt(), seen, event("FailedMount", NO_CONFIG_MAP))
        found = obstacles.obstacle(attempt.facts, now=after(2))
        assert found is not None
        assert found.finding.reason == "ImageReferenceInvalid"

    NO_NODE = "0/3 nodes are available: 3 node(s) didn't match Pod's node affinity/selector."
    NO_ROOM = "0/3 nodes are available: 3 Insufficient cpu."

    @pytest.mark.parametrize(("message", "deadline"), [(NO_NODE, 900), (NO_ROOM, 1798)])
    def test_what_the_scheduler_said_is_over_when_the_pod_has_a_node(self, message: str, deadline: float) -> None:
        """Its events stay fresh for minutes: neither their grace nor their words go on while the image is pulled."""
        pending = pod_facts(conditions=(Condition("PodScheduled", "False", "Unschedulable", message),))
        pulling = pod_facts(waiting("ContainerCreating"), rv=20, conditions=(Condition("PodScheduled"),))
        attempt = with_facts(make_attempt(), pending, event("FailedScheduling", message, at=890))
        job, attempts = apply(decide(make_job(State.STARTING), attempt, now=after(1)), {1: attempt})
        attempt = with_facts(attempts[1], pulling)
        decision = decide(job, attempt, now=after(899))
        assert (decision.job.state, decision.job.explanation) == (State.STARTING, "")
        assert decision.job.waiting_since is None
        assert decision.job.next_check_at == after(deadline), "the start timeout, with the time that it waited for room"

    def test_a_wait_for_room_that_only_an_event_tells_ends_with_the_event(self) -> None:
        attempt = with_facts(make_attempt(), pod_facts(), event("FailedScheduling", self.NO_ROOM, at=1))
        decision = decide(make_job(State.STARTING), attempt, now=after(2))
        assert decision.job.next_check_at == after(1 + obstacles.EVENT_FRESH_SECONDS)

    def test_a_normal_event_is_no_obstacle(self) -> None:
        attempt = with_facts(make_attempt(), self.CREATING, event("FailedMount", NO_CONFIG_MAP, type="Normal"))
        assert obstacles.obstacle(attempt.facts, now=after(2)) is None


class TestContainers:
    def test_a_failed_init_container_is_the_cause_and_has_no_exit_code_of_the_job(self) -> None:
        init = ContainerFacts(name="prepare", init=True, state="terminated", reason="Error", exit_code=9)
        seen = pod_facts(phase="Failed")
        attempt = with_facts(make_attempt(), job_facts("Failed", rv=20))
        attempt = with_facts(attempt, msgspec.structs.replace(seen, containers=(waiting("PodInitializing"), init)))
        verdict = decide(make_job(State.STARTING), attempt, now=after(5)).attempts[0].verdict
        assert verdict is not None
        assert (verdict.reason, verdict.exit_code, verdict.cause) == ("OtherContainerFailed", None, "infrastructure")
        assert "prepare exited with code 9" in verdict.explanation

    def test_a_sidecar_that_was_killed_at_the_end_is_no_failure_of_the_job(self) -> None:
        proxy = ContainerFacts(name="proxy", init=True, sidecar=True, state="terminated", reason="Error", exit_code=143)
        seen = pod_facts(ended(3), phase="Failed")
        attempt = with_facts(make_attempt(), job_facts("Failed", rv=20))
        attempt = with_facts(attempt, msgspec.structs.replace(seen, containers=(proxy, ended(3))))
        verdict = decide(make_job(State.RUNNING), attempt, now=after(5)).attempts[0].verdict
        assert verdict is not None
        assert (verdict.exit_code, "main" in verdict.explanation) == (3, True)

    @pytest.mark.parametrize(("reason", "unknown"), [("SomethingNew", "SomethingNew"), ("ContainerCreating", "")])
    def test_what_the_table_does_not_know_is_told_for_the_count(self, reason: str, unknown: str) -> None:
        assert obstacles.unknown_signal(pod_facts(waiting(reason))) == unknown
