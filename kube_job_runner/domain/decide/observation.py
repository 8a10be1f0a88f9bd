"""Merges one observation into an attempt: its facts, and the steps that a pod shows only while they last."""

from datetime import datetime

import msgspec

from kube_job_runner.domain.facts import PodFacts, Seen, merge
from kube_job_runner.domain.job import Attempt, Marks

# Waiting reasons of a container whose image is on the node already (kubelet kuberuntime_container.go and sync_result.go).
_PULLED = frozenset(
    {
        "CreateContainerConfigError",
        "CreateContainerError",
        "PreCreateHookError",
        "PreStartHookError",
        "PostStartHookError",
        "RunContainerError",
        "CrashLoopBackOff",
    }
)


def observe(attempt: Attempt, seen: Seen) -> Attempt:
    """Return the attempt with one observation merged into its facts. Facts of other objects change nothing."""
    facts = merge(attempt.facts, seen, cluster_uid=attempt.cluster_uid)
    ours = isinstance(seen, PodFacts) and any(pod.uid == seen.uid for pod in facts.pods)
    marks = _marked(attempt.marks, seen) if ours and isinstance(seen, PodFacts) else attempt.marks
    if facts == attempt.facts and marks == attempt.marks:
        return attempt
    pod = facts.pod
    return msgspec.structs.replace(
        attempt,
        facts=facts,
        marks=marks,
        node=pod.node if pod else attempt.node,
        pod_name=pod.name if pod else attempt.pod_name,
    )


def _marked(marks: Marks, seen: PodFacts) -> Marks:
    """Return the marks with the steps that this state of the pod shows. The earliest time of a step wins, in any order."""
    if seen.phase not in ("Pending", "Running") or seen.deleting:
        return marks
    times: dict[str, datetime | None] = {"scheduled_at": None, "pulling_at": None, "starting_at": None}
    for condition in seen.conditions:
        if condition.status != "True":
            continue
        if condition.type == "PodScheduled":
            times["scheduled_at"] = condition.at
        elif condition.type == "PodReadyToStartContainers":
            times["pulling_at"] = condition.at
    main = seen.main
    if main is not None and main.state == "waiting" and main.reason in _PULLED:
        times["starting_at"] = times["pulling_at"] or times["scheduled_at"]
    changed = {
        name: time
        for name, time in times.items()
        if time is not None and ((known := getattr(marks, name)) is None or time < known)
    }
    return msgspec.structs.replace(marks, **changed) if changed else marks
