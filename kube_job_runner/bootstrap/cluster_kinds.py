"""The clusters that KJR_CLUSTER can name, and the adapter of each."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping

import msgspec

from kube_job_runner.ports import Clock, Cluster
from kube_job_runner.settings import Settings, kubernetes_environment

Open = Callable[[Settings, Clock, str], Awaitable[Cluster]]


class ClusterKind(msgspec.Struct, frozen=True, kw_only=True):
    """One adapter of clusters.

    `open` takes the installation's id, which marks what is created. A cluster that is `remote` has servers of its own:
    components in several processes can use it, and its watches hear something every minute.
    """

    open: Open
    remote: bool = False


async def _kubernetes(settings: Settings, _: Clock, installation: str) -> Cluster:
    from kube_job_runner.adapters import kubernetes

    return await kubernetes.connect(
        settings.cluster,
        kubernetes_environment(),
        namespaces=settings.specs.namespaces,
        installation=installation,
    )


async def _local(settings: Settings, clock: Clock, installation: str) -> Cluster:
    from kube_job_runner.adapters.local import LocalCluster

    cluster = LocalCluster(settings.process.data_dir, clock=clock, installation=installation)
    await cluster.start()
    return cluster


async def _simulated(_: Settings, clock: Clock, installation: str) -> Cluster:
    from kube_job_runner.adapters.simulated import SimulatedCluster

    cluster = SimulatedCluster(clock=clock, keep_history=False, installation=installation)
    cluster.start()
    return cluster


KINDS: Mapping[str, ClusterKind] = {
    "kubernetes": ClusterKind(open=_kubernetes, remote=True),
    "local": ClusterKind(open=_local),
    "simulated": ClusterKind(open=_simulated),
}


def kind_of(settings: Settings) -> ClusterKind:
    """Return the kind of cluster that KJR_CLUSTER names."""
    return KINDS[settings.cluster.kind]
