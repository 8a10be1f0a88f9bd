"""The contract of `ports.Cluster` on every adapter."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest_asyncio

from kube_job_runner.adapters.local import LocalCluster
from tests.contract.cluster_suite import ClusterContract
from tests.support.clusters import LocalHarness, SimulatedHarness, SystemClock


class TestLocalCluster(ClusterContract):
    """Jobs as local processes."""

    @pytest_asyncio.fixture
    async def harness(self, tmp_path: Path) -> AsyncIterator[LocalHarness]:
        folder = tmp_path / "harness"
        folder.mkdir()
        cluster = LocalCluster(tmp_path, clock=SystemClock())
        await cluster.start()
        yield LocalHarness(cluster, folder)
        await cluster.close()
        assert cluster.shim_pid is None


class TestSimulatedCluster(ClusterContract):
    """The scripted cluster, its time moved by the test."""

    @pytest_asyncio.fixture
    async def harness(self) -> AsyncIterator[SimulatedHarness]:
        harness = SimulatedHarness()
        yield harness
        await harness.simulated.close()
