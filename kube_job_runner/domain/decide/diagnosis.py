"""From the facts of an attempt to what they mean: did it start, did it end, what keeps it waiting.

The order in which the places are looked at is fixed (pod status, disruption, init containers, main container, what a
container waits for, scheduling, Job condition, events): the cause before its symptom. A Job's own `Failed` reason is never
the answer while its pod can speak, and events are text: they decide only where no status can.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import TypeGuard

import msgspec

from kube_job_runner.domain import failures, names
from kube_job_runner.domain.facts import AttemptFacts, Condition, ContainerFacts, EventFacts, PodFacts
from kube_job_runner.domain.failures import Finding, Table
from kube_job_runner.domain.job import Cause, Verdict
from kube_job_runner.domain.states import State

EVENT_FRESH_SECONDS = 300.0
"""How long a Warning event speaks: the kubelet repeats a failed mount at least every 2 min 2 s (reconciler backoff)."""

_CAUSES: dict[str, Cause] = {
    "fail_now": "permanent",
    "fail_after_grace": "permanent",
    "application": "application",
    "retry_free": "infrastructure",
    "wait": "permanent",
}


class Ending(msgspec.Struct, frozen=True, kw_only=True):
    """How a cluster job ended. `complete_evidence` is False while the facts of its pod may still arrive."""

    verdict: Verdict
    complete_evidence: bool = True


class Obstacle(msgspec.Struct, frozen=True, kw_only=True):
    """What keeps an attempt from starting. `until` is when an event stops to speak for it, None for a status."""

    finding: Finding
    until: datetime | None = None


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


def finishing(facts: AttemptFacts) -> bool:
    """Tell whether the program has ended by itself while its Job has no terminal condition yet.

    The Job controller needs a moment: it first says `SuccessCriteriaMet` or `FailureTarget`, and writes the terminal
    condition once its pods are accounted for (pkg/controller/job, up to a second after the pod).
    """
    job, pod = facts.job, facts.pod
    if job is None or job.deleting or job.gone:
        return False
    if job.condition("SuccessCriteriaMet") or job.condition("FailureTarget"):
        return True
    return pod is not None and pod.phase in ("Succeeded", "Failed") and not pod.deleting and not pod.gone


def ending(facts: AttemptFacts, table: Table = failures.TABLE) -> Ending | None:
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
        return _failed(facts, failed, table)
    if job.gone:
        # Not the program's fault, and perhaps a person's will: the user's own attempts decide whether it runs again.
        explanation = "The cluster job was deleted by somebody else while the job ran."
        verdict = Verdict(outcome=State.FAILED, reason="JobDeleted", explanation=explanation, cause="application")
        return Ending(verdict=verdict)
    return None


def _failed(facts: AttemptFacts, failed: Condition, table: Table) -> Ending:
    if failed.reason == "DeadlineExceeded":
        # The deadline ended the pod: the signal that killed it is the symptom, and may or may not have been seen.
        found = table.classify("job.condition", failed.reason, failed.message or failed.reason)
        if _known(found):
            return Ending(verdict=_verdict(found))
    verdict = _pod_verdict(facts.pod, table)
    if verdict is not None:
        return Ending(verdict=verdict)
    explanation = f"The pod of the job is gone and left no outcome ({failed.message or failed.reason})."
    lost = Verdict(outcome=State.FAILED, reason="PodLost", explanation=explanation, cause="infrastructure")
    return Ending(verdict=lost, complete_evidence=facts.pod is not None and facts.pod.gone)


def obstacle(facts: AttemptFacts, *, now: datetime, table: Table = failures.TABLE) -> Obstacle | None:
    """Return the known fault that keeps the newest pod from starting, or None when it waits for a normal reason."""
    pod = facts.pod
    if pod is None:
        return _from_events(facts.job_events, now=now, table=table)
    if pod.ended or pod.deleting:
        return None
    found = _worst(_waiting(pod, table))
    if found is None:
        found = _worst(_unscheduled(pod, table))
    if found is not None:
        return Obstacle(finding=found)
    ready = _condition(pod, "PodReadyToStartContainers")
    if ready is not None and ready.status == "True":
        return None  # volumes and network are there: what the events said of them is over
    return _from_events(facts.pod_events, now=now, table=table)


def waiting_for(facts: AttemptFacts, *, now: datetime, table: Table = failures.TABLE) -> str:
    """Return, in words, what an attempt that has not started is waiting for."""
    found = obstacle(facts, now=now, table=table)
    if found is not None:
        return found.finding.explanation
    pod = facts.pod
    if pod is None:
        return "the cluster has not made a pod for it yet"
    for condition in pod.conditions:
        if condition.type == "PodScheduled" and condition.status != "True":
            return condition.message or condition.reason or "it has not been scheduled"
    for container in pod.containers:
        if container.state == "waiting" and container.reason:
            return f"container {container.name}: {container.reason} {container.message}".strip()
    return f"the pod is {pod.phase or 'pending'} on node {pod.node or '(none)'}"


def unknown_signal(pod: PodFacts, table: Table = failures.TABLE) -> str:
    """Return a waiting reason of a pod that is neither normal nor known to the table, or nothing."""
    for container in pod.containers:
        if container.state != "waiting" or container.reason in _NORMAL:
            continue
        if not _known(table.classify("container.waiting", container.reason, container.message)):
            return container.reason
    return ""


_NORMAL = frozenset({"", "ContainerCreating", "PodInitializing"})


def blames_image(reason: str) -> bool:
    """Tell whether a waiting reason is that of a pull between two tries, which kubelets before 1.31 give without its cause."""
    return reason == "ImagePullBackOff"


def _waiting(pod: PodFacts, table: Table) -> Iterator[Finding]:
    for container in pod.containers:
        if container.state == "waiting" and container.reason not in _NORMAL:
            found = table.classify(
                "container.waiting", container.reason, container.message, container=container.name, node=pod.node
            )
            if _known(found):
                yield found


def _unscheduled(pod: PodFacts, table: Table) -> Iterator[Finding]:
    condition = _condition(pod, "PodScheduled")
    if condition is not None and condition.status == "False":
        found = table.classify("pod.condition", condition.reason, condition.message)
        if _known(found):
            yield found


def _known(found: Finding | None) -> TypeGuard[Finding]:
    """Tell whether the table knows a signal: a row may say that a signal means nothing by itself."""
    return found is not None and found.category != "unknown"


def _worst(found: Iterator[Finding]) -> Finding | None:
    return max(found, key=lambda finding: failures.severity(finding.verdict), default=None)


def _from_events(events: tuple[EventFacts, ...], *, now: datetime, table: Table) -> Obstacle | None:
    """Return what the newest Warning that still speaks and that the table knows says."""
    for event in reversed(events):
        seen_at = event.last_at or event.first_at
        if event.type != "Warning" or seen_at is None:
            continue
        until = seen_at + timedelta(seconds=EVENT_FRESH_SECONDS)
        if until <= now:
            continue
        found = table.classify("event", event.reason, event.message)
        if _known(found):
            return Obstacle(finding=found, until=until)
    return None


def _condition(pod: PodFacts, type_: str) -> Condition | None:
    return next((condition for condition in pod.conditions if condition.type == type_), None)


def verdict_of(found: Finding, *, explanation: str = "") -> Verdict:
    """Return the verdict of a fault that kept an attempt from starting."""
    return _verdict(found, explanation=explanation)


def _verdict(
    found: Finding, *, exit_code: int | None = None, signal: int | None = None, explanation: str = ""
) -> Verdict:
    return Verdict(
        outcome=State.FAILED,
        reason=found.reason,
        explanation=explanation or found.explanation,
        exit_code=exit_code,
        signal=signal,
        cause=_CAUSES[found.verdict],
        rule=found.rule.name,
    )


def _pod_verdict(pod: PodFacts | None, table: Table) -> Verdict | None:
    if pod is None:
        return None
    main = main_container(pod)
    exit_code = main.exit_code if main else None
    if pod.phase == "Failed" and pod.reason:
        found = table.classify("pod.status", pod.reason, pod.message, node=pod.node)
        if _known(found):
            return _verdict(found, exit_code=exit_code)
    disrupted = _condition(pod, "DisruptionTarget")
    if disrupted is not None and disrupted.status == "True" and pod.ended:
        found = table.classify("pod.condition", disrupted.reason, disrupted.message, node=pod.node)
        if _known(found):
            return _verdict(found, exit_code=exit_code)
        moved = f"The pod was moved off node {pod.node or '(none)'} ({disrupted.reason}: {disrupted.message})."
        return Verdict(outcome=State.FAILED, reason="Disrupted", explanation=moved, cause="infrastructure")
    ended = [c for c in pod.containers if c.state == "terminated" and c.exit_code not in (0, None) and not c.sidecar]
    if not ended:
        return None
    # A failed init container is why the others never ran; then the user's own container speaks before any other.
    first = min(ended, key=lambda c: (not c.init, c.name != names.MAIN_CONTAINER))
    return _terminated(pod, first, table)


def _terminated(pod: PodFacts, container: ContainerFacts, table: Table) -> Verdict:
    code = container.exit_code or 0
    number = container.signal or (code - 128 if 128 < code <= 128 + 64 else None)
    found = table.classify(
        "container.terminated",
        container.reason,
        container.message,
        exit_code=code,
        container=container.name,
        node=pod.node,
        signal=number,
    )
    if _known(found):
        # What never ran, or whose end nobody saw, has no exit code of its own.
        ran = found.verdict == "application" or container.reason == "Error"
        return _verdict(found, exit_code=code if ran else None, signal=number if ran else None)
    text = f"Container {container.name} exited with code {code}."
    return Verdict(
        outcome=State.FAILED,
        reason="ApplicationExit",
        explanation=text,
        exit_code=code,
        signal=number,
        cause="application",
    )
