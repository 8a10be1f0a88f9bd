"""What is needed of a cluster: create and delete, watch, read logs."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from datetime import datetime
from typing import Literal, Protocol
from uuid import UUID

import msgspec

from kube_job_runner.domain.facts import Condition, EventFacts, JobFacts, PodFacts
from kube_job_runner.domain.record import trace
from kube_job_runner.domain.spec.model import JobSpec


class ClusterJob(msgspec.Struct, frozen=True, kw_only=True):
    """What a cluster job is to be made from. `spec_hash` tells on adoption whether it is the same work.

    `avoid_nodes` are nodes to keep away from where there are others: a preference, never a reason not to run. `memory`,
    when set, takes the place of `spec.resources.memory` for this attempt, and is part of what adoption compares.
    `traceparent` is the trace that the program belongs to; it is no part of the work.
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
        """The plain variables of the main container; a TRACEPARENT of the spec, plain or of a Secret, goes before ours."""
        spec = self.spec
        if self.traceparent is None or any(secret.env == trace.VARIABLE for secret in spec.secrets):
            return spec.env
        return {trace.VARIABLE: self.traceparent, **spec.env}

    @property
    def work_hash(self) -> str:
        """What tells two cluster jobs of one name apart: the hash of the spec, and the memory where it is another."""
        return self.spec_hash if self.memory is None else f"{self.spec_hash}-{self.memory}"


class ClusterWriter(Protocol):
    """What the messages-processor does with the cluster. Every call is safe to repeat."""

    async def create(self, job: ClusterJob) -> JobFacts:
        """Create the cluster job, or adopt the one that is there under its name when it is ours (job id, attempt, spec hash).

        Raises:
            NameTaken: an object that is not ours holds the name.
            ClusterRefused: the cluster will never take it; `reason` says why.
            TemporaryError: the outcome is unknown or the cluster is busy (quota, 429, 5xx, timeouts).
        """
        ...

    async def find(self, namespace: str, cluster_name: str) -> JobFacts | None:
        """Return the facts of the cluster job of that name when it is ours, or None when there is none.

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
        """Ask for the removal of the cluster job with that uid and of its pods; one that is gone already is success.

        With `wait_for_pods` the cluster job stays visible until its pods are gone (foreground propagation), so that
        its disappearance proves that nothing runs any more.

        With `grace_seconds` each of `pods` (name, uid) is then deleted by itself with that grace period instead of its
        own; 0 takes a pod out of the cluster without waiting for its node, which may be gone. Such a pod may still run on a
        node that only cannot be reached.

        Raises:
            TemporaryError: the cluster did not take the request.
        """
        ...


class Relisting(msgspec.Struct, frozen=True):
    """A watcher is about to list everything: what is known now and not seen before its namespace is `Listed` has gone."""


class Listed(msgspec.Struct, frozen=True):
    """The list of a namespace (None: of all) that began at the last `Relisting` is complete.

    Each namespace is told by itself: one that cannot be listed, because a right is missing say, holds up no other.
    """

    namespace: str | None = None


class SeenJob(msgspec.Struct, frozen=True, kw_only=True):
    """A Job with our labels was seen (or, with `facts.gone`, seen to be gone)."""

    job_id: UUID
    attempt: int
    facts: JobFacts


class SeenPod(msgspec.Struct, frozen=True, kw_only=True):
    """A Pod with our labels was seen (or, with `facts.gone`, seen to be gone)."""

    job_id: UUID
    attempt: int
    facts: PodFacts


class SeenEvent(msgspec.Struct, frozen=True, kw_only=True):
    """A Kubernetes Event of type Warning about a Job or a Pod of ours was seen: text, and best effort."""

    job_id: UUID
    attempt: int
    facts: EventFacts


WatchEvent = Relisting | Listed | SeenJob | SeenPod | SeenEvent


class ClusterWatcher(Protocol):
    """What the two watchers need. The iterators never end by themselves and survive every fault of the connection.

    They yield in the order seen. An object that vanished between two lists comes as seen with `gone`. A list tells every
    object, changed or not: that is how its reader learns which are missing, and hears again what may have been lost. Between
    two lists, facts equal to those last yielded for a uid (but for the resource version) are not yielded again.
    """

    def watch_jobs(self) -> AsyncIterator[WatchEvent]:
        """Yield `Relisting`, `SeenJob`..., `Listed`, then `SeenJob` as changes come; and again from the start on a relist.

        There is one `Listed` for each namespace; what is seen of others may come between.
        """
        ...

    def watch_pods(self) -> AsyncIterator[WatchEvent]:
        """Yield the same for pods (`SeenPod`)."""
        ...

    def watch_events(self) -> AsyncIterator[WatchEvent]:
        """Yield `SeenEvent` for what is said about our Jobs and pods, between `Relisting` and `Listed` or after them.

        An Event is told once: a list does not repeat it, one that is gone is not told, and the first list holds only
        those of the last minutes. Where Events cannot be read there are none; that stops nothing.
        """
        ...


class ClusterLogs(Protocol):
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

        `since` leaves out lines that are older, by the node's clock and in whole seconds (earlier ones may come, never
        fewer). With `timestamps` each line has its time before it, as `domain.logs.stamps` describes.

        Raises:
            NotFound: there is no such pod, or its log is not there (any more, or yet).
            ClusterRefused: we may not read it.
            TemporaryError: the cluster did not answer.
        """
        ...


class OwnedObject(msgspec.Struct, frozen=True, kw_only=True):
    """A Job or a Pod with our labels: only its metadata. `owner_uid` is the Job that controls a pod, "" when none does.

    `job_id` is the nil UUID where the labels name none. `installation` is the label of whoever made it, "" without one.
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
    """A namespace could not be listed, or not completely: that something of it was not seen proves nothing."""

    namespace: str | None
    why: str


class ClusterInventory(Protocol):
    """What the sweep for orphans and zombies does with the cluster."""

    def list_owned(self) -> AsyncIterator[list[OwnedObject] | Unlisted]:
        """Yield, page by page, everything with the labels of this instance: of each namespace all Jobs before the first pod.

        Only namespaces that `covers` tells of are listed. One that cannot be listed comes as `Unlisted`, where others can.

        Objects of other installations under the same instance name are among them; `installation` tells them apart.

        Raises:
            TemporaryError: nothing could be listed.
        """
        ...

    def covers(self, namespace: str) -> bool:
        """Tell whether the list holds what is in that namespace, so that what is missing from it is not there."""
        ...

    async def find(self, namespace: str, cluster_name: str) -> JobFacts | None:
        """Return the cluster job of that name when it is ours, or None; see `ClusterWriter.find`."""
        ...

    async def remove_owned(self, found: OwnedObject) -> None:
        """Delete that very object by uid, and in the background what it owns; one that is gone is success.

        Raises:
            TemporaryError: the cluster did not take the request.
        """
        ...


class NodeReader(Protocol):
    """The state of a node, as evidence for what happened on it."""

    async def node_conditions(self, name: str) -> tuple[Condition, ...] | None:
        """Return the conditions of a node (`status.conditions`), or None when it is gone or we may not read nodes.

        Raises:
            TemporaryError: the cluster did not answer.
        """
        ...


class ClusterTroubles(Protocol):
    """What an operator wants to know of the namespaces."""

    def troubles(self) -> Mapping[str, str]:
        """Return, by namespace ("*" for all), why it cannot be watched now; those that can are left out."""
        ...


class Cluster(ClusterWriter, ClusterWatcher, ClusterLogs, ClusterInventory, ClusterTroubles, NodeReader, Protocol):
    """All of a cluster; an adapter offers this, and each component takes the part that it needs."""

    async def close(self) -> None:
        """Close connections and stop what the adapter itself started."""
        ...
