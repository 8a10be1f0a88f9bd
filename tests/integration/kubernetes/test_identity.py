"""Which cluster an API server belongs to, over HTTP, and what a watch says about it."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator

import pytest

from kube_job_runner.adapters.kubernetes import KubernetesCluster
from kube_job_runner.ports import Listed, SeenJob, WatchEvent
from tests.support.fake_apiserver import FakeApiServer
from tests.support.kubernetes import labels, make_cluster

pytestmark = pytest.mark.asyncio


@contextlib.asynccontextmanager
async def opened(server: FakeApiServer) -> AsyncIterator[KubernetesCluster]:
    cluster = make_cluster(server.url)
    try:
        yield cluster
    finally:
        await cluster.close()


async def one_list(events: AsyncIterator[WatchEvent]) -> list[WatchEvent]:
    """Return the events up to the end of the next list."""
    found = [await anext(events)]
    while not isinstance(found[-1], Listed):
        found.append(await anext(events))
    return found


async def test_the_uid_of_kube_system_is_the_identity(server: FakeApiServer) -> None:
    server.namespaces = {"kube-system": "uid-of-system", "default": "uid-of-default"}
    async with opened(server) as cluster:
        found = await cluster.identity()
    assert found is not None
    assert (found.kind, found.evidence, found.uid, found.place) == (
        "kubernetes", "namespace kube-system", "uid-of-system", server.url,
    )  # fmt: skip


async def test_a_namespace_of_ours_takes_its_place(server: FakeApiServer) -> None:
    server.namespaces = {"default": "uid-of-default"}
    async with opened(server) as cluster:
        found = await cluster.identity()
    assert found is not None
    assert (found.evidence, found.uid) == ("namespace default", "uid-of-default")


async def test_without_any_right_it_is_unknown(server: FakeApiServer) -> None:
    async with opened(server) as cluster:
        assert await cluster.identity() is None


async def test_a_list_says_which_cluster_it_is_of(server: FakeApiServer) -> None:
    server.namespaces = {"kube-system": "uid-of-system"}
    async with opened(server) as cluster, contextlib.aclosing(cluster.watch_jobs()) as events:
        *_, listed = await one_list(events)
    assert isinstance(listed, Listed)
    assert listed.cluster is not None
    assert listed.cluster.uid == "uid-of-system"


async def test_what_another_cluster_lacks_is_not_gone(server: FakeApiServer) -> None:
    """The name of the API server leads to another cluster while the process runs."""
    server.namespaces = {"kube-system": "one"}
    await server.put("jobs", {"metadata": {"name": "one", "namespace": "default", "labels": labels()}})
    cluster = make_cluster(server.url, relist_seconds=0.3)
    async with contextlib.aclosing(cluster.watch_jobs()) as events:
        assert any(isinstance(event, SeenJob) for event in await one_list(events))
        server.namespaces = {"kube-system": "two"}
        await server.remove("jobs", "default", "one", silently=True)
        again = await one_list(events)
    assert not any(isinstance(event, SeenJob) for event in again)
    assert isinstance(again[-1], Listed)
    assert again[-1].cluster is not None
    assert again[-1].cluster.uid == "two"
    await cluster.close()
