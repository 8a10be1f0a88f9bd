"""A fake API server, and a cluster connected to it, for each test."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest_asyncio

from kube_job_runner.adapters.kubernetes import KubernetesCluster
from tests.support.fake_apiserver import FakeApiServer
from tests.support.kubernetes import Sleeps, make_cluster


@pytest_asyncio.fixture
async def server() -> AsyncIterator[FakeApiServer]:
    """A fake API server."""
    async with FakeApiServer() as fake:
        yield fake


@pytest_asyncio.fixture
async def cluster(server: FakeApiServer) -> AsyncIterator[KubernetesCluster]:
    """A cluster on the fake API server, with real (short) waits."""
    connected = make_cluster(server.url)
    yield connected
    await connected.close()


@pytest_asyncio.fixture
async def sleeps() -> Sleeps:
    """Records waits instead of waiting."""
    return Sleeps()
