"""What is needed of a cluster: create and delete, watch, read logs."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import datetime
from typing import Protocol
from uuid import UUID

import msgspec

from kube_job_runner.domain.facts import JobFacts, PodFacts
from kube_job_runner.domain.spec import JobSpec


class ClusterJob(msgspec.Struct, frozen=True, kw_only=True):
    """What a cluster job is to be made from. `spec_hash` tells on adoption whether it is the same work."""

    job_id: UUID
    attempt: int
    namespace: str
    cluster_name: str
    queue: str
    spec: JobSpec
    spec_hash: str


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

    async def delete(self, namespace: str, cluster_name: str, *, cluster_uid: str, wait_for_pods: bool) -> None:
        """Ask for the removal of the cluster job with that uid and of its pods; one that is gone already is success.

        With `wait_for_pods` the cluster job stays visible until its pods are gone (foreground propagation), so that
        its disappearance proves that nothing runs any more.

        Raises:
            TemporaryError: the cluster did not take the request.
        """
        ...


class Relisting(msgspec.Struct, frozen=True):
    """A watcher is about to list everything: what is known now and not seen before `Listed` has gone."""


class Listed(msgspec.Struct, frozen=True):
    """The list that began at the last `Relisting` is complete."""


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


WatchEvent = Relisting | Listed | SeenJob | SeenPod


class ClusterWatcher(Protocol):
    """What the two watchers need. The iterators never end by themselves and survive every fault of the connection.

    They yield in the order seen. An object that vanished between two lists comes as seen with `gone`. A list tells every
    object, changed or not: that is how its reader learns which are missing, and hears again what may have been lost. Between
    two lists, facts equal to those last yielded for a uid (but for the resource version) are not yielded again.
    """

    def watch_jobs(self) -> AsyncIterator[WatchEvent]:
        """Yield `Relisting`, `SeenJob`..., `Listed`, then `SeenJob` as changes come; and again from the start on a relist."""
        ...

    def watch_pods(self) -> AsyncIterator[WatchEvent]:
        """Yield the same for pods (`SeenPod`)."""
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
        fewer). With `timestamps` each line has its time before it, as `domain.loglines` describes.

        Raises:
            NotFound: there is no such pod, or its log is not there (any more, or yet).
            ClusterRefused: we may not read it.
            TemporaryError: the cluster did not answer.
        """
        ...


class Cluster(ClusterWriter, ClusterWatcher, ClusterLogs, Protocol):
    """All of a cluster; an adapter offers this, and each component takes the part that it needs."""

    async def close(self) -> None:
        """Close connections and stop what the adapter itself started."""
        ...
