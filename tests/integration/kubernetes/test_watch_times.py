"""When a watch was current, over HTTP: what breaks it is dark, what ends it in order is not; each namespace for itself."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from typing import Any

import pytest

from kube_job_runner.adapters.kubernetes import KubernetesCluster
from kube_job_runner.domain.freshness import WatchReport
from tests.support import api_answers as fake
from tests.support.fake_apiserver import FakeApiServer
from tests.support.kubernetes import eventually, make_cluster, pod

pytestmark = pytest.mark.asyncio

AWAY_SECONDS = 0.3
PAUSE: dict[str, Any] = {"first_delay_seconds": 0.05, "max_delay_seconds": 0.1}


@contextlib.asynccontextmanager
async def watching(cluster: KubernetesCluster) -> AsyncIterator[None]:
    """Watch pods, and take whatever comes."""

    async def read() -> None:
        async for _ in cluster.watch_pods():
            pass

    task = asyncio.create_task(read())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


@contextlib.asynccontextmanager
async def made(server: FakeApiServer, *namespaces: str, **tuning: Any) -> AsyncIterator[KubernetesCluster]:
    cluster = make_cluster(server.url, namespaces=namespaces or ("default",), **PAUSE, **tuning)
    try:
        yield cluster
    finally:
        await cluster.close()


def report(cluster: KubernetesCluster, namespace: str = "default") -> WatchReport:
    found = cluster.watch_times("pod")[namespace].report(namespace, now=time.monotonic())
    assert found is not None
    return found


def dark_seconds(cluster: KubernetesCluster, namespace: str = "default") -> float:
    return sum(begin - end for begin, end in report(cluster, namespace).dark)


async def test_a_watch_that_ends_in_order_or_only_has_bookmarks_is_never_dark(server: FakeApiServer) -> None:
    server.fail("watch", *(fake.stream(fake.bookmark(version)) for version in (2000, 3000, 4000)))
    async with made(server) as cluster, watching(cluster):
        await eventually(lambda: cluster.watch_stats["pod"].connections > 3)
        assert "allowWatchBookmarks" in server.of("watch")[0].query
        server.version = 5000
        before = report(cluster).known
        await asyncio.sleep(0.2)
        assert report(cluster).known > before, "without a word nothing more is known"
        await server.put("pods", pod(1))
        await eventually(lambda: report(cluster).known < before + 0.1)
        assert dark_seconds(cluster) == 0
        assert not report(cluster).broken


@pytest.mark.parametrize(
    "fault",
    [fake.answer(503), fake.reset(), fake.answer(410, "too old", "Expired"), fake.stream(b"{", then="reset")],
    ids=["refused", "reset", "expired", "cut"],
)
async def test_a_watch_that_breaks_is_dark_from_its_last_word_until_it_is_heard_again(
    server: FakeApiServer, fault: fake.Fault
) -> None:
    server.fail("watch", *[fault] * 4)
    began = time.monotonic()
    async with made(server) as cluster, watching(cluster):
        await eventually(lambda: cluster.watch_times("pod") and not server.pending_faults("watch"), seconds=20)
        await eventually(lambda: not report(cluster).broken, seconds=20)
        assert 0 < dark_seconds(cluster) < time.monotonic() - began


async def test_a_namespace_that_cannot_be_listed_is_dark_alone(server: FakeApiServer) -> None:
    async with made(server, "a", "b", relist_seconds=0.3) as cluster, watching(cluster):
        await eventually(lambda: cluster.watch_times("pod").keys() == {"a", "b"})
        await eventually(lambda: cluster.watch_stats["pod"].lists >= 1)
        server.fail("list", *[fake.answer(503)] * 1)
        await eventually(lambda: dark_seconds(cluster, "a") + dark_seconds(cluster, "b") > 0)
        assert 0 in (dark_seconds(cluster, "a"), dark_seconds(cluster, "b"))


async def test_a_second_watch_of_the_process_was_not_watching_before_it_began(server: FakeApiServer) -> None:
    async with made(server) as cluster:
        for _ in range(2):
            async with watching(cluster):
                await eventually(lambda: len(server.of("watch")))
                await asyncio.sleep(0.1)
            await asyncio.sleep(AWAY_SECONDS)
            server.calls.clear()
        assert dark_seconds(cluster) >= AWAY_SECONDS
