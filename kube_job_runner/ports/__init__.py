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
    ClusterJob,
    ClusterLogs,
    ClusterWatcher,
    ClusterWriter,
    Listed,
    Relisting,
    SeenJob,
    SeenPod,
    WatchEvent,
)
from kube_job_runner.ports.logs import (
    ContainerLog,
    LogCollectStore,
    LogKeeper,
    LogKey,
    LogReader,
    LogState,
    LogWork,
    LogWrite,
    StoredLog,
)
from kube_job_runner.ports.queue import (
    Delivery,
    MessageQueue,
    Topic,
    Wakeup,
)
from kube_job_runner.ports.store import (
    Change,
    Health,
    JobFilter,
    JobReader,
    KnownClusterJob,
    LoadedJob,
    ObserveStore,
    ProcessStore,
    QueueDepth,
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
    "Clock",
    "Cluster",
    "ClusterJob",
    "ClusterLogs",
    "ClusterWatcher",
    "ClusterWriter",
    "ContainerLog",
    "Delivery",
    "Health",
    "JobFilter",
    "JobReader",
    "KnownClusterJob",
    "Listed",
    "LoadedJob",
    "LogCollectStore",
    "LogKeeper",
    "LogKey",
    "LogReader",
    "LogState",
    "LogWork",
    "LogWrite",
    "MessageQueue",
    "ObserveStore",
    "ProcessStore",
    "QueueDepth",
    "Relisting",
    "SeenJob",
    "SeenPod",
    "Snapshot",
    "StoredLog",
    "Submission",
    "SubmitOutcome",
    "SubmitStore",
    "SweepStore",
    "Token",
    "TokenStore",
    "Topic",
    "Wakeup",
    "WatchEvent",
]
