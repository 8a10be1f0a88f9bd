"""Ports of the cluster: create and delete, watch, read logs, list what is ours."""

from collections.abc import AsyncIterator, Mapping, Sequence
from datetime import datetime
from typing import Literal, Protocol
from uuid import UUID

import msgspec

from kube_job_runner.domain.facts import Condition, EventFacts, JobFacts, PodFacts
from kube_job_runner.domain.freshness import WatchTimes
from kube_job_runner.domain.record import trace
from kube_job_runner.domain.sight import Sight
from kube_job_runner.domain.spec.model import JobSpec


class ClusterJob(msgspec.Struct, frozen=True, kw_only=True):
    """What a cluster job is made from.

    `spec_hash` shows on adoption whether an existing one does the same work. `avoid_nodes` is a preference: if there are no
    other nodes, the job runs on one of them. `memory` replaces `spec.resources.memory` for this attempt, and adoption
    compares it too. `traceparent` (W3C Trace Context) is the trace that the program belongs to; adoption ignores it.
    """

    job_id: UUID
    attempt: int
    namespace: str
    cluster_name: str
    queue: str
    spec: JobSpec
    spec_hash: str
    avoid_nodes: tuple[str, ...] = ()
    memory: str | None = None
    traceparent: str | None = None

    @property
    def env(self) -> dict[str, str]:
        """The plain variables of the main container. A TRACEPARENT of the spec, plain or from a Secret, replaces ours."""
        spec = self.spec
        if self.traceparent is None or any(secret.env == trace.VARIABLE for secret in spec.secrets):
            return spec.env
        return {trace.VARIABLE: self.traceparent, **spec.env}

    @property
    def work_hash(self) -> str:
        """What distinguishes two cluster jobs of one name: the hash of the spec, and the memory if it was replaced."""
        return self.spec_hash if self.memory is None else f"{self.spec_hash}-{self.memory}"


class ClusterIdentity(msgspec.Struct, frozen=True, kw_only=True):
    """Which cluster this is. Two clusters of one kind never share the `uid` of the same `evidence`.

    `kind` is that of KJR_CLUSTER. `evidence` names the object that `uid` belongs to, for example `namespace kube-system`.
    `place` says where the cluster is reached, for people; it may change.
    """

    kind: str
    evidence: str
    uid: str
    place: str = ""

    def __str__(self) -> str:
        place = f" at {self.place}" if self.place else ""
        return f"{self.kind} cluster{place} ({self.evidence}: {self.uid})"


class ClusterIdentifier(Protocol):
    """Tells which cluster the others of these ports lead to."""

    async def identity(self) -> ClusterIdentity | None:
        """Return the identity of the cluster; None: we have no right to read any evidence of it.

        Raises:
            TemporaryError: the cluster did not answer.
        """
        ...


class BoundCluster(Protocol):
    """The cluster that this database belongs to."""

    async def bind_cluster(self, identity: ClusterIdentity) -> list[ClusterIdentity]:
        """Return every identity that the database is bound to. Without any of this kind and evidence, `identity` is bound first.

        Nothing is bound if an identity of another kind is bound already.

        Raises:
            DatabaseUnavailable: the database does not answer.
        """
        ...


class ClusterWriter(ClusterIdentifier, Protocol):
    """What the messages-processor does with the cluster. Every call is safe to repeat."""

    async def create(self, job: ClusterJob) -> JobFacts:
        """Create the cluster job, or adopt an existing one of its name with our job id, attempt and work hash.

        Raises:
            NameTaken: an object that is not ours has the name.
            ClusterRefused: the cluster will never accept it; `reason` says why.
            TemporaryError: the outcome is unknown, or the cluster is busy (quota, 429, 5xx, timeouts).
        """
        ...

    async def find(self, namespace: str, cluster_name: str, *, cluster_uid: str | None = None) -> JobFacts | None:
        """Return the facts of the cluster job of that name, or None if there is none of ours.

        With `cluster_uid`, the one with that uid is ours, whatever became of its labels.

        Raises:
            TemporaryError: the cluster did not answer.
        """
        ...

    async def look(self, namespace: str, cluster_name: str, *, cluster_uid: str) -> Sight:
        """Return the cluster job that has the name now, with any uid and labels, and the pods of the one with that uid.

        The Job is read before its pods, and nothing comes from a cache: so a pod is at least as new as its Job.

        Raises:
            TemporaryError: the cluster did not answer.
        """
        ...

    async def delete(
        self,
        namespace: str,
        cluster_name: str,
        *,
        cluster_uid: str,
        wait_for_pods: bool,
        pods: Sequence[tuple[str, str]] = (),
        grace_seconds: int | None = None,
    ) -> None:
        """Request the removal of the cluster job with that uid and of its pods. It is a success if they are gone already.

        With `wait_for_pods`, the cluster job stays visible until its pods are gone (foreground propagation). Its
        disappearance then proves that nothing runs any more.

        With `grace_seconds`, each of `pods` (name, uid) is also deleted by itself, with that grace period instead of its own.
        0 removes a pod from the cluster without waiting for its node. If the node is only unreachable, the pod may still run.

        Raises:
            TemporaryError: the cluster did not accept the request.
        """
        ...


class Relisting(msgspec.Struct, frozen=True):
    """A watcher begins to list everything. An object that is known now, and not seen until its namespace is `Listed`, is gone."""


class Listed(msgspec.Struct, frozen=True):
    """The list of a namespace (None: of all) that began at the last `Relisting` is complete.

    There is one for each namespace. If one cannot be listed, for example because a right is missing, the others still can.

    `cluster` is the cluster that was listed; None: that cannot be known. A watcher that reaches another cluster than with its
    last list reports nothing as gone because of the new list.
    """

    namespace: str | None = None
    cluster: ClusterIdentity | None = None


class SeenJob(msgspec.Struct, frozen=True, kw_only=True):
    """A Job with our labels was seen, or was seen to be gone (`facts.gone`)."""

    job_id: UUID
    attempt: int
    facts: JobFacts


class SeenPod(msgspec.Struct, frozen=True, kw_only=True):
    """A Pod with our labels was seen, or was seen to be gone (`facts.gone`)."""

    job_id: UUID
    attempt: int
    facts: PodFacts


class SeenEvent(msgspec.Struct, frozen=True, kw_only=True):
    """A Kubernetes Event of type Warning about one of our Jobs or Pods was seen. Events are best effort."""

    job_id: UUID
    attempt: int
    facts: EventFacts


WatchEvent = Relisting | Listed | SeenJob | SeenPod | SeenEvent


class ClusterWatcher(Protocol):
    """What the two watchers need. The iterators never end by themselves, and survive every failure of the connection.

    They yield in the order seen. An object that disappeared between two lists is yielded with `gone`. A list yields every
    object, changed or not: so its reader learns which ones are missing, and gets again what may have been lost. Between two
    lists, facts that equal the last ones of a uid, except for the resource version, are not yielded again.
    """

    def watch_jobs(self) -> AsyncIterator[WatchEvent]:
        """Yield `Relisting`, `SeenJob`..., `Listed`, then a `SeenJob` for each change. A relist begins again from the start.

        There is one `Listed` for each namespace; objects of other namespaces may come in between.
        """
        ...

    def watch_pods(self) -> AsyncIterator[WatchEvent]:
        """Yield the same for pods (`SeenPod`)."""
        ...

    def watch_events(self) -> AsyncIterator[WatchEvent]:
        """Yield `SeenEvent` for Events about our Jobs and pods, between `Relisting` and `Listed` or after them.

        Each Event is yielded once: a list does not repeat it, its end is not reported, and the first list has only the
        Events of the last minutes. If Events cannot be read, none are yielded, and nothing else stops.
        """
        ...

    def watch_times(self, kind: Literal["job", "pod", "event"]) -> Mapping[str, WatchTimes]:
        """Return when the watches of a kind were current, by namespace ("*": all), in the monotonic seconds of the process."""
        ...


class ClusterLogs(ClusterIdentifier, Protocol):
    """Live logs of a pod that is still in the cluster."""

    def logs(
        self,
        namespace: str,
        pod_name: str,
        *,
        container: str,
        follow: bool,
        since: datetime | None = None,
        timestamps: bool = False,
    ) -> AsyncIterator[bytes]:
        """Yield the log as raw chunks (not lines) until its end; with `follow`, until the container has ended.

        `since` leaves out older lines, by the node's clock and in whole seconds: some older lines may be yielded, and no newer
        one is left out. With `timestamps`, each line begins with its time, as `domain.logs.stamps` describes.

        Raises:
            NotFound: there is no such pod, or no log of it (any more, or yet).
            ClusterRefused: we have no right to read it.
            TemporaryError: the cluster did not answer.
        """
        ...


class OwnedObject(msgspec.Struct, frozen=True, kw_only=True):
    """The metadata of a Job or a Pod with our labels.

    `owner_uid` is the Job that controls a pod, "" if there is none. `job_id` is the nil UUID if the labels name no job.
    `installation` is the label of the installation that created it, "" without one.
    """

    kind: Literal["Job", "Pod"]
    namespace: str
    name: str
    uid: str
    created_at: datetime | None
    job_id: UUID
    attempt: int
    owner_uid: str = ""
    installation: str = ""
    deleting: bool = False


class Unlisted(msgspec.Struct, frozen=True, kw_only=True):
    """A namespace could not be listed, or not completely. An object of it that was not seen may still be there."""

    namespace: str | None
    why: str


class ClusterInventory(ClusterIdentifier, Protocol):
    """What the comparison of the store with the cluster does with the cluster."""

    def list_owned(self) -> AsyncIterator[list[OwnedObject] | Unlisted]:
        """Yield, page by page, everything with the labels of this instance. In each namespace, Jobs come before pods.

        Only namespaces that `covers` are listed. One that cannot be listed is yielded as `Unlisted`, if others can be.
        Objects of other installations with the same instance name are among them; `installation` distinguishes them.

        Raises:
            TemporaryError: nothing could be listed.
        """
        ...

    def covers(self, namespace: str) -> bool:
        """Return whether the list includes that namespace. If it does, an object that is not in the list does not exist."""
        ...

    async def find(self, namespace: str, cluster_name: str, *, cluster_uid: str | None = None) -> JobFacts | None:
        """Return the cluster job of that name, or None; see `ClusterWriter.find`."""
        ...

    async def remove_owned(self, found: OwnedObject) -> None:
        """Delete that object by its uid, and in the background what it owns. It is a success if it is gone already.

        Raises:
            TemporaryError: the cluster did not accept the request.
        """
        ...


class NodeReader(Protocol):
    """The state of a node, as evidence of what happened on it."""

    async def node_conditions(self, name: str) -> tuple[Condition, ...] | None:
        """Return the conditions of a node (`status.conditions`); None: it is gone, or we have no right to read nodes.

        Raises:
            TemporaryError: the cluster did not answer.
        """
        ...


class ClusterTroubles(Protocol):
    """Which namespaces cannot be watched, for operators."""

    def troubles(self) -> Mapping[str, str]:
        """Return by namespace ("*": all) why it cannot be watched now. Those that can be are left out."""
        ...


class Cluster(ClusterWriter, ClusterWatcher, ClusterLogs, ClusterInventory, ClusterTroubles, NodeReader, Protocol):
    """All of these; an adapter offers this, and each component takes what it needs."""

    async def close(self) -> None:
        """Close the connections, and stop what the adapter itself started."""
        ...
