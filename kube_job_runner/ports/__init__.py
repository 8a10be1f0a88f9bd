"""Ports: what the services need of the world, as Protocols of at most six methods, split by who needs them.

Every adapter of a port passes the same behavioural suite in `tests/contract/`. An adapter raises only the errors of
`domain.errors`: a library's exception never leaves it.
"""

from __future__ import annotations

from kube_job_runner.ports.clock import (
    Clock,
)
from kube_job_runner.ports.cluster import (
    Cluster,
    ClusterInventory,
    ClusterJob,
    ClusterLogs,
    ClusterWatcher,
    ClusterWriter,
    Listed,
    NodeReader,
    OwnedObject,
    Relisting,
    SeenEvent,
    SeenJob,
    SeenPod,
    WatchEvent,
)
from kube_job_runner.ports.evidence import (
    EvidenceReader,
)
from kube_job_runner.ports.queue import (
    Delivery,
    MessageQueue,
    Wakeup,
)
from kube_job_runner.ports.store import (
    Change,
    Claim,
    Health,
    InstallationStore,
    JobFilter,
    JobReader,
    KnownClusterJob,
    LoadedJob,
    ObserveStore,
    ProcessStore,
    QueueDepth,
    ReconcileStore,
    RecordedClusterJob,
    RecordReader,
    Snapshot,
    Submission,
    SubmitOutcome,
    SubmitStore,
    SweepStore,
    Token,
    TokenStore,
)

__all__ = [
    "Change",
    "Claim",
    "Clock",
    "Cluster",
    "ClusterInventory",
    "ClusterJob",
    "ClusterLogs",
    "ClusterWatcher",
    "ClusterWriter",
    "Delivery",
    "EvidenceReader",
    "Health",
    "InstallationStore",
    "JobFilter",
    "JobReader",
    "KnownClusterJob",
    "Listed",
    "LoadedJob",
    "MessageQueue",
    "NodeReader",
    "ObserveStore",
    "OwnedObject",
    "ProcessStore",
    "QueueDepth",
    "ReconcileStore",
    "RecordReader",
    "RecordedClusterJob",
    "Relisting",
    "SeenEvent",
    "SeenJob",
    "SeenPod",
    "Snapshot",
    "Submission",
    "SubmitOutcome",
    "SubmitStore",
    "SweepStore",
    "Token",
    "TokenStore",
    "Wakeup",
    "WatchEvent",
]
