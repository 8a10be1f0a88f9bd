"""The facts of a Job and of its pods, and the join of two versions of one object.

The newer version wins, and keeps what only the other one shows: that the object is gone, that it ended before it was deleted,
who owned it, and when its deletion was first requested. So the same versions in any order, or twice, lead to the same facts.
"""

from datetime import datetime, timedelta
from typing import Literal, TypeVar

import msgspec

from kube_job_runner.domain import names

ContainerState = Literal["waiting", "running", "terminated", ""]


class Condition(msgspec.Struct, frozen=True, omit_defaults=True):
    """A condition of a Job or a Pod (`status.conditions[]`)."""

    type: str
    status: str = "True"
    reason: str = ""
    message: str = ""
    at: datetime | None = None


class JobFacts(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What we read of a Kubernetes Job. `gone` means that the object is no longer in the API server.

    `suspend` is `spec.suspend`, which the Job controller answers with the condition `Suspended`. `ended_first` means that a
    version of it showed its end and no deletion.
    """

    uid: str
    resource_version: int = 0
    created_at: datetime | None = None
    started_at: datetime | None = None
    conditions: tuple[Condition, ...] = ()
    suspend: bool = False
    deleting: bool = False
    gone: bool = False
    ended_first: bool = False

    @property
    def suspended(self) -> bool:
        """Whether the Job is held back: it has no pods, and none are made until somebody resumes it.

        A Job that has ended is not, even if its condition stays.
        """
        if self.condition("Complete") or self.condition("Failed"):
            return False
        return self.suspend or self.condition("Suspended") is not None

    @property
    def suspended_at(self) -> datetime | None:
        """When a Job that is suspended now was suspended, or None while its condition does not say so."""
        condition = self.condition("Suspended")
        return condition.at if condition is not None else None

    @property
    def resumed_at(self) -> datetime | None:
        """When the Job was last resumed, or None. The controller also resets `status.startTime` then (job_controller.go)."""
        if self.suspended:
            return None
        return next((c.at for c in self.conditions if c.type == "Suspended" and c.status == "False"), None)

    def condition(self, type_: str) -> Condition | None:
        """Return the condition of that type when its status is True."""
        return next((c for c in self.conditions if c.type == type_ and c.status == "True"), None)

    @property
    def showed_end_first(self) -> bool:
        """Whether a version of the Job had ended and was not being deleted."""
        ended = self.condition("Complete") is not None or self.condition("Failed") is not None
        return self.ended_first or (ended and not self.deleting and not self.gone)

    def ended_before(self, moment: datetime) -> bool:
        """Return whether the Job ended before this moment and before any deletion: a version, or its own time, shows that."""
        ended = self.condition("Complete") or self.condition("Failed")
        return self.showed_end_first or (ended is not None and ended.at is not None and ended.at < moment)


class ContainerFacts(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What we read of one container status: its state, and the reason and message Kubernetes gives for it.

    `sidecar` marks an init container with `restartPolicy: Always` (a native sidecar), which runs with the main container.
    """

    name: str
    init: bool = False
    sidecar: bool = False
    state: ContainerState = ""
    reason: str = ""
    message: str = ""
    exit_code: int | None = None
    signal: int | None = None
    restarts: int = 0
    started_at: datetime | None = None
    finished_at: datetime | None = None

    @property
    def saw_end(self) -> bool:
        """Whether the container has ended and its node saw how."""
        unseen = self.reason in ("ContainerStatusUnknown", "Unknown")
        return self.state == "terminated" and self.exit_code is not None and not unseen


class PodFacts(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What we read of a Pod of a cluster job; `job_uid` is its controlling owner.

    `deletion_due_at` is `metadata.deletionTimestamp`: the time of the delete request plus the grace period
    (rest.BeforeDelete of k8s.io/apiserver). `ended_first` means that a version of it showed the end of the main container,
    or of the pod, and no deletion. Of several versions, the first request for the deletion is kept.
    """

    uid: str
    name: str = ""
    job_uid: str = ""
    resource_version: int = 0
    created_at: datetime | None = None
    phase: str = ""
    reason: str = ""
    message: str = ""
    node: str = ""
    conditions: tuple[Condition, ...] = ()
    containers: tuple[ContainerFacts, ...] = ()
    deleting: bool = False
    deletion_due_at: datetime | None = None
    deletion_grace_seconds: int | None = None
    gone: bool = False
    ended_first: bool = False

    def container(self, name: str) -> ContainerFacts | None:
        return next((c for c in self.containers if c.name == name), None)

    @property
    def main(self) -> ContainerFacts | None:
        """The container that runs the user's command, or None while its status is not known."""
        return self.container(names.MAIN_CONTAINER)

    def find_condition(self, type_: str) -> Condition | None:
        """Return the condition of that type, with any status, or None."""
        return next((condition for condition in self.conditions if condition.type == type_), None)

    @property
    def ended(self) -> bool:
        """Whether nothing of this pod can run any more."""
        return self.gone or self.phase in ("Succeeded", "Failed")

    @property
    def showed_end_first(self) -> bool:
        """Whether a version of the pod had ended, or its main container had, and the pod was not being deleted."""
        main = self.main
        shown = self.phase in ("Succeeded", "Failed") or (main is not None and main.state == "terminated")
        return self.ended_first or (shown and not self.deleting and not self.gone)

    @property
    def deletion_requested_at(self) -> datetime | None:
        """When the deletion of the pod was requested, by the API server's clock, or None while that is not known.

        The grace period of 0 is that of the kubelet's own delete, when the containers have ended, or of a delete by force. Its
        time says nothing about an earlier request.
        """
        if self.deletion_due_at is None or not self.deletion_grace_seconds:
            return None
        return self.deletion_due_at - timedelta(seconds=self.deletion_grace_seconds)

    @property
    def deletion_asked(self) -> bool:
        """Whether anybody asked for the deletion of the pod."""
        return self.deleting or self.deletion_due_at is not None


_ObjectT = TypeVar("_ObjectT", JobFacts, PodFacts)


def merge_job(known: JobFacts | None, seen: JobFacts) -> JobFacts:
    """Return the join of two facts about one Job uid. Facts with another uid than the known one change nothing."""
    if known is None:
        return seen
    return _joined(known, seen) if known.uid == seen.uid else known


def _joined(known: _ObjectT, seen: _ObjectT) -> _ObjectT:
    """Return the join of two facts about one object: the newer version, with what only the other one shows."""
    newest = seen if seen.resource_version > known.resource_version else known
    gone = known.gone or seen.gone
    joined = newest if newest.gone == gone else msgspec.structs.replace(newest, gone=gone)
    first = known.showed_end_first or seen.showed_end_first
    if first and not joined.showed_end_first:
        joined = msgspec.structs.replace(joined, ended_first=True)
    return joined


def join_pods(known: PodFacts, seen: PodFacts) -> PodFacts:
    """Return the join of two facts about one pod, with the end of its program and the first request for its deletion."""
    joined = _with_end(_joined(known, seen), known, seen)
    # An orphaned pod loses its owner (garbage collector, orphan dependents). It stays the pod of its Job.
    job_uid = joined.job_uid or known.job_uid or seen.job_uid
    first = min(known, seen, key=_deletion_order)
    if job_uid == joined.job_uid and _deletion_order(first) == _deletion_order(joined):
        return joined
    return msgspec.structs.replace(
        joined,
        job_uid=job_uid,
        deletion_due_at=first.deletion_due_at,
        deletion_grace_seconds=first.deletion_grace_seconds,
    )


def _with_end(joined: PodFacts, *versions: PodFacts) -> PodFacts:
    """Return a pod with the end of its main container that an earlier version showed and the newest does not.

    A kubelet that was restarted, or that removed the container, may no longer know it (kubelet_pods.go,
    ContainerStatusUnknown).
    """
    now = joined.main
    for version in versions:
        main = version.main
        if (
            main is not None
            and main.saw_end
            and not (now is not None and (now.saw_end or now.restarts > main.restarts))
        ):
            others = tuple(container for container in joined.containers if container is not now)
            deleting = joined.deleting or version.deleting
            return msgspec.structs.replace(joined, containers=(main, *others), deleting=deleting)
    return joined


def _deletion_order(pod: PodFacts) -> tuple[int, float, float, int]:
    """Return the order of what pods tell of their deletion: a request, a delete without a grace period, none."""
    if pod.deletion_due_at is None:
        return 2, 0.0, 0.0, 0
    due = pod.deletion_due_at.timestamp()
    requested = pod.deletion_requested_at
    return (1, due, due, 0) if requested is None else (0, requested.timestamp(), due, pod.deletion_grace_seconds or 0)
