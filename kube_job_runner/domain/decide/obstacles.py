"""What keeps an attempt from starting: a known fault of its pod, or what a Warning event says.

The places are read in a fixed order: what a container waits for, scheduling, events. An event is text, so it decides only
where no status can.
"""

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Literal, get_args

import msgspec

from kube_job_runner.domain import failures
from kube_job_runner.domain.decide.diagnosis import classify
from kube_job_runner.domain.facts import AttemptFacts, EventFacts, PodFacts
from kube_job_runner.domain.failures import Finding, Table

EVENT_FRESH_SECONDS = 300.0
"""How long a Warning event counts: the kubelet repeats a failed mount at least every 2 min 2 s (reconciler backoff)."""

HoldKind = Literal["suspended", "gated"]
HOLDS: tuple[HoldKind, ...] = get_args(HoldKind)

_OF_SCHEDULING = frozenset({"FailedScheduling", "NotTriggerScaleUp", "TriggeredScaleUp", "Nominated"})
"""Events of the scheduler and of cluster autoscalers about a pod that has no node yet."""
_NORMAL = frozenset({"", "ContainerCreating", "PodInitializing"})


class Obstacle(msgspec.Struct, frozen=True, kw_only=True):
    """What keeps an attempt from starting. `until` is when an event no longer counts; None for a status."""

    finding: Finding
    until: datetime | None = None


class Hold(msgspec.Struct, frozen=True, kw_only=True):
    """What holds an attempt back on purpose, and since when.

    `restarts` says that it begins again afterwards.
    """

    kind: HoldKind
    explanation: str
    since: datetime | None = None
    restarts: bool = False


def obstacle(facts: AttemptFacts, *, now: datetime, table: Table = failures.TABLE) -> Obstacle | None:
    """Return the known fault that keeps the newest pod from starting, or None when it waits for a normal reason."""
    pod = facts.pod
    if pod is None:
        return _from_events(facts.job_events, now=now, table=table, no_pod=True)
    if pod.ended or pod.deleting:
        return None
    found = _worst(_waiting(pod, table)) or _worst(_unscheduled(pod, table))
    if found is not None:
        return Obstacle(finding=found)
    ready = pod.find_condition("PodReadyToStartContainers")
    if ready is not None and ready.status == "True":
        return None  # volumes and network are there, so events about them no longer count
    return _from_events(_that_count(pod, facts.pod_events), now=now, table=table)


def _that_count(pod: PodFacts, events: tuple[EventFacts, ...]) -> tuple[EventFacts, ...]:
    """Return the events of a pod without those about its scheduling if it has a node: what they say is over."""
    scheduled = pod.find_condition("PodScheduled")
    if scheduled is None or scheduled.status != "True":
        return events
    return tuple(event for event in events if event.reason not in _OF_SCHEDULING)


def waiting_for(facts: AttemptFacts, *, now: datetime, table: Table = failures.TABLE) -> str:
    """Return, in words, what an attempt that has not started is waiting for."""
    held = hold(facts)
    if held is not None:
        return held.explanation
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


def hold(facts: AttemptFacts) -> Hold | None:
    """Return what holds back a cluster job that is suspended, or a pod with a scheduling gate; None when it is free."""
    job, pod = facts.job, facts.pod
    if job is not None and facts.suspended:
        since = f" since {job.suspended_at:%Y-%m-%d %H:%M:%S} UTC" if job.suspended_at is not None else ""
        return Hold(
            kind="suspended",
            since=job.suspended_at,
            restarts=True,
            explanation=f"Its Kubernetes Job is suspended{since}, by a queue such as Kueue or by a person. It goes on when the"
            " Job is resumed: Kueue does that when its queue has room; otherwise whoever suspended it must set spec.suspend to"
            " false. Meanwhile neither the start timeout nor the run timeout counts.",
        )
    scheduled = pod.find_condition("PodScheduled") if pod is not None and not pod.ended else None
    if scheduled is not None and scheduled.status == "False" and scheduled.reason == "SchedulingGated":
        return Hold(
            kind="gated",
            since=scheduled.at,
            explanation=f"A scheduling gate holds its pod back: {scheduled.message or 'no message'}. It goes on when the gate is"
            " removed: a queue such as Kueue does that when it has room. Meanwhile the start timeout does not count.",
        )
    return None


def unknown_signal(pod: PodFacts, table: Table = failures.TABLE) -> str:
    """Return a waiting reason of a pod that is neither normal nor known to the table, or nothing."""
    for container in pod.containers:
        if container.state != "waiting" or container.reason in _NORMAL:
            continue
        if classify(table, "container.waiting", container.reason, container.message) is None:
            return container.reason
    return ""


def _waiting(pod: PodFacts, table: Table) -> Iterator[Finding]:
    for container in pod.containers:
        if container.state == "waiting" and container.reason not in _NORMAL:
            found = classify(
                table, "container.waiting", container.reason, container.message, container=container.name, node=pod.node
            )
            if found is not None:
                yield found


def _unscheduled(pod: PodFacts, table: Table) -> Iterator[Finding]:
    condition = pod.find_condition("PodScheduled")
    if condition is not None and condition.status == "False":
        found = classify(table, "pod.condition", condition.reason, condition.message)
        if found is not None:
            yield found


def _worst(found: Iterator[Finding]) -> Finding | None:
    return max(found, key=lambda finding: failures.severity(finding.verdict), default=None)


def _from_events(
    events: tuple[EventFacts, ...], *, now: datetime, table: Table, no_pod: bool = False
) -> Obstacle | None:
    """Return the obstacle of the newest Warning that still counts and that the table knows.

    A Job that has no pod for lack of room has none until there is room. So that Warning counts until there is a pod, or another
    Warning. The controller repeats it less and less often.
    """
    for event in reversed(events):
        seen_at = event.last_at or event.first_at
        if event.type != "Warning" or seen_at is None:
            continue
        until = seen_at + timedelta(seconds=EVENT_FRESH_SECONDS)
        fresh = now < until
        if not fresh and not no_pod:
            continue
        found = classify(table, "event", event.reason, event.message)
        if found is not None and (fresh or found.rule.for_room):
            return Obstacle(finding=found, until=None if found.rule.for_room and no_pod else until)
    return None
