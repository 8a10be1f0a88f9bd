"""The contract of `ports.Cluster` on every adapter."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from kube_job_runner.adapters import kubernetes
from kube_job_runner.adapters.local import LocalCluster
from kube_job_runner.settings import KubernetesEnvironment
from kube_job_runner.settings.groups import ClusterSettings
from testbed import cluster as testbed_cluster
from tests.contract.cluster_suite import ClusterContract, ClusterLogs, EventTexts, ForeignObjects
from tests.support.clocks import SystemClock
from tests.support.clusters import LocalHarness, SimulatedHarness
from tests.support.kubernetes_harness import KubernetesHarness


class TestLocalCluster(ClusterLogs, ClusterContract):
    """Jobs as local processes."""

    @pytest_asyncio.fixture
    async def harness(self, tmp_path: Path) -> AsyncIterator[LocalHarness]:
        folder = tmp_path / "harness"
        folder.mkdir()
        cluster = LocalCluster(tmp_path, clock=SystemClock(), installation=LocalHarness.installation)
        await cluster.start()
        yield LocalHarness(cluster, folder)
        await cluster.close()
        assert cluster.shim_pid is None


class TestSimulatedCluster(ClusterLogs, EventTexts, ForeignObjects, ClusterContract):
    """The scripted cluster, its time moved by the test."""

    @pytest_asyncio.fixture
    async def harness(self) -> AsyncIterator[SimulatedHarness]:
        harness = SimulatedHarness()
        yield harness
        await harness.simulated.close()


@pytest.mark.cluster
class TestKubernetesCluster(EventTexts, ForeignObjects, ClusterContract):
    """Kubernetes itself, with simulated nodes, which print nothing: the real node's tests read logs."""

    @pytest_asyncio.fixture
    async def harness(
        self, kube_cluster: testbed_cluster.Cluster, kube_namespace: str
    ) -> AsyncIterator[KubernetesHarness]:
        settings = ClusterSettings(kubeconfig=str(kube_cluster.kubeconfig()))
        cluster = await kubernetes.connect(
            settings,
            KubernetesEnvironment(),
            namespaces=(kube_namespace,),
            installation=KubernetesHarness.installation,
        )
        yield KubernetesHarness(cluster, kube_cluster, kube_namespace)
        await cluster.close()
