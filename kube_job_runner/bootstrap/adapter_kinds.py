"""Kinds of adapters: the clusters that KJR_CLUSTER can name, and the queues outside the database that KJR_QUEUE can name."""

from collections.abc import Awaitable, Callable, Mapping
from urllib.parse import urlsplit

import msgspec

from kube_job_runner.adapters.sqs import configured as sqs
from kube_job_runner.domain.errors import ConfigurationError
from kube_job_runner.ports import Clock, Cluster, ExternalQueue
from kube_job_runner.settings import Settings, kubernetes_environment, masked
from kube_job_runner.settings.groups import QueueSettings

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

    cluster = LocalCluster(
        settings.process.data_dir, clock=clock, installation=installation, user=settings.cluster.local_user
    )
    await cluster.start()
    return cluster


async def _simulated(_: Settings, clock: Clock, installation: str) -> Cluster:
    from kube_job_runner.adapters.simulated import SimulatedCluster

    cluster = SimulatedCluster(clock=clock, keep_history=False, installation=installation)
    cluster.start()
    return cluster


CLUSTER_KINDS: Mapping[str, ClusterKind] = {
    "kubernetes": ClusterKind(open=_kubernetes, remote=True),
    "local": ClusterKind(open=_local),
    "simulated": ClusterKind(open=_simulated),
}


def cluster_kind(settings: Settings) -> ClusterKind:
    """Return the kind of cluster that KJR_CLUSTER names."""
    return CLUSTER_KINDS[settings.cluster.kind]


IN_DATABASE = "postgres"


class QueueKind(msgspec.Struct, frozen=True, kw_only=True):
    """One adapter of queues: the schemes that name it, the forms of its addresses, and how the settings lead to a queue."""

    schemes: tuple[str, ...]
    forms: str
    configured: Callable[[QueueSettings], ExternalQueue]


QUEUE_KINDS = (QueueKind(schemes=("sqs", "https", "http"), forms=sqs.FORMS, configured=sqs.configured),)


def external_queue(settings: QueueSettings) -> ExternalQueue | None:
    """Return the queue that KJR_QUEUE names, or None when the database is the queue. Nothing is connected to.

    Raises:
        ConfigurationError: KJR_QUEUE cannot be read.
    """
    if settings.address == IN_DATABASE:
        return None
    scheme = urlsplit(settings.address).scheme
    for kind in QUEUE_KINDS:
        if scheme in kind.schemes:
            return kind.configured(settings)
    forms = ", ".join([f"`{IN_DATABASE}`", *(kind.forms for kind in QUEUE_KINDS)])
    raise ConfigurationError(f"KJR_QUEUE={masked(settings.address)!r}: must be {forms}")
