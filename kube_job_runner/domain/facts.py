"""Facts: the few typed fields of a Job, a Pod, an Event or a Node that we read, and how they are merged.

A merge is a join: for one uid the higher resourceVersion wins, and keeps what only the other version shows (`live_objects`). So
the same observations in any order, or twice, lead to the same facts. Resource versions compare as integers (KEP-5504).
Of events only the newest are kept, by resource version: it grows with every change of an event, while a time that a client
wrote may go back. So this cut is a join too.
"""

from datetime import datetime, timedelta

import msgspec

from kube_job_runner.domain.live_objects import (
    Condition,
    ContainerFacts,
    ContainerState,
    JobFacts,
    PodFacts,
    join_pods,
    merge_job,
)

__all__ = [
    "EVENTS_KEPT", "PODS_KEPT", "SUSPEND_SLACK_SECONDS", "AttemptFacts", "Condition", "ContainerFacts", "ContainerState",
    "EventFacts", "JobFacts", "NodeFacts", "PodFacts", "Seen", "join_pods", "latest_at", "merge", "merge_events", "merge_job",
    "merge_nodes", "merge_pods",
]  # fmt: skip

PODS_KEPT = 4  # of one attempt, which has more than one pod only after the loss of a node or a replacement
EVENTS_KEPT = 12  # of one attempt, of its Job and its pods together

SUSPEND_SLACK_SECONDS = 10.0
"""How much older than the resume of its Job a new pod may be: the controller makes the pod, then writes the condition."""


class EventFacts(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What we read of a Kubernetes Event: text about a Job or a Pod. It is best effort: late, merged or missing."""

    uid: str
    resource_version: int = 0
    object_kind: str = ""
    object_name: str = ""
    object_uid: str = ""
    reason: str = ""
    message: str = ""
    type: str = "Warning"
    count: int = 1
    first_at: datetime | None = None
    last_at: datetime | None = None


class NodeFacts(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The conditions of a Node when something happened to a pod on it. `seen_at` is our clock."""

    name: str
    seen_at: datetime
    conditions: tuple[Condition, ...] = ()


Seen = JobFacts | PodFacts | EventFacts | NodeFacts


def latest_at(seen: Seen) -> datetime | None:
    """Return the newest time in facts, by the cluster's own clocks, or None: when it happened."""
    times: list[datetime | None] = []
    if isinstance(seen, EventFacts):
        times = [seen.last_at, seen.first_at]
    elif isinstance(seen, JobFacts | PodFacts) and not (seen.gone or seen.deleting):
        times = [seen.created_at, *(condition.at for condition in seen.conditions)]
        if isinstance(seen, PodFacts):
            times += [time for c in seen.containers for time in (c.started_at, c.finished_at)]
        else:
            times.append(seen.started_at)
    return max((time for time in times if time is not None), default=None)


class AttemptFacts(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """All that is known about the cluster objects of one attempt."""

    job: JobFacts | None = None
    pods: tuple[PodFacts, ...] = ()
    events: tuple[EventFacts, ...] = ()
    """Oldest first. Some may be about other objects of the same name, so read `job_events` and `pod_events`."""
    nodes: tuple[NodeFacts, ...] = ()

    @property
    def job_events(self) -> tuple[EventFacts, ...]:
        """The events about the cluster job itself, oldest first; none while its uid is not known."""
        uid = self.job.uid if self.job is not None else ""
        return tuple(event for event in self.events if event.object_kind == "Job" and event.object_uid == uid)

    @property
    def pod_events(self) -> tuple[EventFacts, ...]:
        """The events about pods that are known to be the attempt's own, oldest first.

        An event may come before its pod. It is kept, and appears here when the pod is known.
        """
        uids = {pod.uid for pod in self.pods}
        return tuple(event for event in self.events if event.object_kind == "Pod" and event.object_uid in uids)

    @property
    def suspended(self) -> bool:
        """Whether the cluster job exists and is suspended."""
        return self.job is not None and self.job.suspended and not self.job.gone

    @property
    def current_pods(self) -> tuple[PodFacts, ...]:
        """The pods that speak for the attempt, oldest first: without those that a suspension removed."""
        job = self.job
        if job is None or not (job.suspend or job.conditions):
            return self.pods
        if job.suspended:
            return ()
        resumed_at = job.resumed_at
        if resumed_at is None:
            return self.pods
        return tuple(pod for pod in self.pods if not _removed_before(pod, resumed_at))

    @property
    def newest_pod(self) -> PodFacts | None:
        """The newest pod, even if a suspension removed it. Its log is still to be read."""
        return self.pods[-1] if self.pods else None

    @property
    def pod(self) -> PodFacts | None:
        """The newest pod that speaks for the attempt. Its state counts as that of the attempt."""
        pods = self.current_pods
        return pods[-1] if pods else None

    @property
    def main(self) -> ContainerFacts | None:
        return self.pod.main if self.pod else None

    @property
    def gone(self) -> bool:
        """Whether the cluster job, and every pod that we know of, has left the cluster."""
        return self.job is not None and self.job.gone and all(pod.gone for pod in self.pods)


def _removed_before(pod: PodFacts, resumed_at: datetime) -> bool:
    """Return whether a pod was removed by a suspension that ended then. A pod that nobody removes is a new one."""
    if not (pod.deleting or pod.gone):
        return False
    if pod.deletion_due_at is not None:
        return pod.deletion_due_at - timedelta(seconds=pod.deletion_grace_seconds or 0) <= resumed_at
    return pod.created_at is not None and pod.created_at < resumed_at - timedelta(seconds=SUSPEND_SLACK_SECONDS)


def merge_pods(known: tuple[PodFacts, ...], seen: PodFacts) -> tuple[PodFacts, ...]:
    """Return the pods of an attempt with `seen` merged in, oldest first, at most `PODS_KEPT` of the newest."""
    by_uid = {pod.uid: pod for pod in known}
    by_uid[seen.uid] = join_pods(by_uid[seen.uid], seen) if seen.uid in by_uid else seen
    by_age = sorted(by_uid.values(), key=lambda pod: (pod.created_at.timestamp() if pod.created_at else 0.0, pod.uid))
    return tuple(by_age[-PODS_KEPT:])


def merge_events(known: tuple[EventFacts, ...], seen: EventFacts) -> tuple[EventFacts, ...]:
    """Return the events of an attempt with `seen` merged in, oldest first, at most `EVENTS_KEPT` of the newest."""
    by_uid = {event.uid: event for event in known}
    held = by_uid.get(seen.uid)
    if held is None or seen.resource_version > held.resource_version:
        by_uid[seen.uid] = seen
    return tuple(sorted(by_uid.values(), key=lambda event: (event.resource_version, event.uid))[-EVENTS_KEPT:])


def merge_nodes(known: tuple[NodeFacts, ...], seen: NodeFacts) -> tuple[NodeFacts, ...]:
    """Return the nodes of an attempt with `seen` merged in. The first look at a node wins: it is closest to the failure."""
    by_name = {node.name: node for node in known}
    held = by_name.get(seen.name)
    if held is None or seen.seen_at < held.seen_at:
        by_name[seen.name] = seen
    return tuple(by_name[name] for name in sorted(by_name)[:PODS_KEPT])


def merge(known: AttemptFacts, seen: Seen, *, cluster_uid: str | None) -> AttemptFacts:
    """Return the facts of an attempt with one observation merged in.

    `cluster_uid` is the uid of the attempt's cluster job, when it is known. Facts of another Job, or of a pod that this Job
    does not control, are ignored, because anybody can copy a label. Events of pods are kept with any uid, because their
    pod may not be known yet.
    """
    if isinstance(seen, NodeFacts):
        return msgspec.structs.replace(known, nodes=merge_nodes(known.nodes, seen))
    if isinstance(seen, EventFacts):
        foreign = seen.object_kind == "Job" and cluster_uid is not None and seen.object_uid != cluster_uid
        if foreign or seen.object_kind not in ("Job", "Pod"):
            return known
        return msgspec.structs.replace(known, events=merge_events(known.events, seen))
    if isinstance(seen, JobFacts):
        if cluster_uid is not None and seen.uid != cluster_uid:
            return known
        return msgspec.structs.replace(known, job=merge_job(known.job, seen))
    if not _owned(known, seen, cluster_uid):
        return known
    return msgspec.structs.replace(known, pods=merge_pods(known.pods, seen))


def _owned(known: AttemptFacts, seen: PodFacts, cluster_uid: str | None) -> bool:
    """Return whether a pod belongs to the attempt: its Job controls it, or did when it was seen before (by uid)."""
    if not seen.job_uid:
        return any(pod.uid == seen.uid for pod in known.pods)
    return cluster_uid is None or seen.job_uid == cluster_uid
