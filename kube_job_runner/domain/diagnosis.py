"""From the facts of an attempt to what they mean: did it start, did it end, what keeps it waiting.

The order in which the places are looked at is fixed (pod status, disruption, init containers, main container, Job condition):
the cause before its symptom. A Job's own `Failed` reason is never the answer while its pod can speak.
"""

from __future__ import annotations

from datetime import datetime

import msgspec

from kube_job_runner.domain import failures, names
from kube_job_runner.domain.facts import AttemptFacts, ContainerFacts, PodFacts
from kube_job_runner.domain.failures import Finding
from kube_job_runner.domain.job import State, Verdict


class Ending(msgspec.Struct, frozen=True, kw_only=True):
    """How a cluster job ended. `complete_evidence` is False while the facts of its pod may still arrive."""

    verdict: Verdict
    complete_evidence: bool = True


def main_container(pod: PodFacts | None) -> ContainerFacts | None:
    """Return the container that runs the user's command."""
    return pod.container(names.MAIN_CONTAINER) if pod else None


def started_at(facts: AttemptFacts) -> datetime | None:
    """Return when the main container started (the node's clock), or None when it has not."""
    for pod in facts.pods:
        main = main_container(pod)
        if main is not None and main.state in ("running", "terminated") and main.started_at is not None:
            if main.reason in ("StartError", "ContainerStatusUnknown"):
                continue
            return main.started_at
    return None


def has_started(facts: AttemptFacts) -> bool:
    """Tell whether the main container has ever run."""
    for pod in facts.pods:
        main = main_container(pod)
        if main is not None and (main.state == "running" or main.restarts > 0):
            return True
    return started_at(facts) is not None


def finished_at(facts: AttemptFacts) -> datetime | None:
    """Return when the main container ended (the node's clock), or None."""
    main = main_container(facts.pod)
    return main.finished_at if main else None


def ending(facts: AttemptFacts) -> Ending | None:
    """Return how the cluster job ended, by its terminal condition or because it is gone, or None while it has not."""
    job = facts.job
    if job is None:
        return None
    if job.condition("Complete"):
        main = main_container(facts.pod)
        exit_code = main.exit_code if main and main.exit_code is not None else 0
        return Ending(
            verdict=Verdict(outcome=State.SUCCEEDED, reason="Completed", exit_code=exit_code),
            complete_evidence=facts.pod is not None and facts.pod.ended,
        )
    failed = job.condition("Failed")
    if failed:
        found = failures.classify("job.condition", failed.reason, failed.message or failed.reason)
        if found is not None and found.category == "deadline_exceeded":
            # The deadline ended the pod: the signal that killed it is the symptom, and may or may not have been seen.
            return Ending(verdict=_verdict(found))
        verdict = _pod_verdict(facts.pod)
        if verdict is not None:
            return Ending(verdict=verdict)
        pod_spoke = facts.pod is not None and facts.pod.gone
        if found is None or found.category == "unknown":
            return Ending(verdict=_pod_lost(failed.message or failed.reason), complete_evidence=pod_spoke)
        return Ending(verdict=_verdict(found), complete_evidence=pod_spoke)
    if job.gone:
        return Ending(
            verdict=Verdict(
                outcome=State.FAILED,
                reason="JobDeleted",
                explanation="The cluster job was deleted by somebody else while the job ran.",
                retryable=True,
            ),
        )
    return None


def _pod_lost(message: str) -> Verdict:
    explanation = f"The pod of the job is gone and left no outcome ({message})."
    return Verdict(outcome=State.FAILED, reason="PodLost", explanation=explanation, retryable=True)


def waiting(facts: AttemptFacts) -> Finding | None:
    """Return the known fault that keeps the newest pod from starting, or None when it waits for a normal reason."""
    pod = facts.pod
    if pod is None or pod.ended or pod.deleting:
        return None
    found: Finding | None = None
    for container in pod.containers:
        if container.state != "waiting" or not container.reason:
            continue
        seen = failures.classify(
            "container.waiting", container.reason, container.message, container=container.name, node=pod.node
        )
        if seen is None or seen.category == "unknown":
            continue
        if found is None or failures.severity(seen.verdict) > failures.severity(found.verdict):
            found = seen
    return found


def waiting_for(facts: AttemptFacts) -> str:
    """Return, in words, what an attempt that has not started is waiting for."""
    pod = facts.pod
    if pod is None:
        return "the cluster has not made a pod for it yet"
    found = waiting(facts)
    if found is not None:
        return found.explanation
    for condition in pod.conditions:
        if condition.type == "PodScheduled" and condition.status != "True":
            return condition.message or condition.reason or "it has not been scheduled"
    for container in pod.containers:
        if container.state == "waiting" and container.reason:
            return f"container {container.name}: {container.reason} {container.message}".strip()
    return f"the pod is {pod.phase or 'pending'} on node {pod.node or '(none)'}"


def _verdict(found: Finding, *, exit_code: int | None = None, signal: int | None = None) -> Verdict:
    return Verdict(
        outcome=State.FAILED,
        reason=found.reason,
        explanation=found.explanation,
        exit_code=exit_code,
        signal=signal,
        retryable=found.verdict in ("application", "retry_free"),
    )


def _pod_verdict(pod: PodFacts | None) -> Verdict | None:
    if pod is None:
        return None
    main = main_container(pod)
    exit_code = main.exit_code if main else None
    if pod.phase == "Failed" and pod.reason:
        found = failures.classify("pod.status", pod.reason, pod.message, node=pod.node)
        if found is not None:
            return _verdict(found, exit_code=exit_code)
    for condition in pod.conditions:
        if condition.type == "DisruptionTarget" and condition.status == "True" and pod.ended:
            found = failures.classify("pod.condition", condition.reason, condition.message, node=pod.node)
            if found is not None:
                return _verdict(found, exit_code=exit_code)
    for container in sorted(pod.containers, key=lambda c: not c.init):
        if container.state == "terminated" and container.exit_code not in (0, None):
            return _terminated(pod, container)
    return None


def _terminated(pod: PodFacts, container: ContainerFacts) -> Verdict:
    code = container.exit_code or 0
    number = container.signal or (code - 128 if 128 < code <= 128 + 64 else None)
    found = failures.classify(
        "container.terminated",
        container.reason,
        container.message,
        exit_code=code,
        container=container.name,
        signal=container.signal,
        node=pod.node,
    )
    if found is None:  # a code that no POSIX system gives
        text = f"Container {container.name} exited with code {code}."
        return Verdict(outcome=State.FAILED, reason="ApplicationExit", explanation=text, exit_code=code, retryable=True)
    reported = None if found.verdict in ("fail_now", "retry_free") else code
    return _verdict(found, exit_code=reported, signal=number if reported is not None else None)
