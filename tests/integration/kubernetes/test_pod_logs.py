"""Live logs over HTTP."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from typing import Any

import pytest

from kube_job_runner.adapters.kubernetes import KubernetesCluster
from kube_job_runner.domain.errors import ClusterRefused, NotFound, TemporaryError
from tests.support import api_answers as fake
from tests.support.fake_apiserver import FakeApiServer
from tests.support.kubernetes import Sleeps, make_cluster

pytestmark = pytest.mark.asyncio

WAITING = 'container "main" in pod "p" is waiting to start: ContainerCreating'


async def read(cluster: KubernetesCluster, *, follow: bool = False, **wanted: Any) -> bytes:
    chunks = cluster.logs("default", "p", container="main", follow=follow, **wanted)
    return b"".join([chunk async for chunk in chunks])


async def test_the_log_comes_as_raw_bytes(server: FakeApiServer, cluster: KubernetesCluster) -> None:
    server.logs["p"] = [b"one\ntw", b"o\n\x00\xff\n"]
    since = datetime(2026, 1, 15, 10, 30, 15, 999999, tzinfo=timezone(timedelta(hours=1)))
    assert await read(cluster, since=since, timestamps=True) == b"one\ntwo\n\x00\xff\n"
    assert server.calls[0].query == {"container": "main", "timestamps": "true", "sinceTime": "2026-01-15T09:30:15Z"}


async def test_follow_asks_the_server_to_follow(server: FakeApiServer, cluster: KubernetesCluster) -> None:
    server.logs["p"] = [b"x"]
    assert await read(cluster, follow=True) == b"x"
    assert server.calls[0].query == {"container": "main", "follow": "true"}


async def test_an_empty_log_is_empty(server: FakeApiServer, cluster: KubernetesCluster) -> None:
    server.logs["p"] = []
    assert await read(cluster) == b""


async def test_a_missing_pod_is_not_found(cluster: KubernetesCluster) -> None:
    with pytest.raises(NotFound, match='pods "p" not found'):
        await read(cluster)


async def test_a_container_that_has_not_started_is_not_found_without_follow(
    server: FakeApiServer, cluster: KubernetesCluster
) -> None:
    server.fail("log", fake.answer(400, WAITING, "BadRequest"))
    with pytest.raises(NotFound, match="is waiting to start"):
        await read(cluster)


async def test_follow_waits_for_the_container_with_bounded_pauses(server: FakeApiServer) -> None:
    sleeps = Sleeps()
    cluster = make_cluster(server.url, sleep=sleeps)
    server.logs["p"] = [b"at last\n"]
    server.fail("log", *[fake.answer(400, WAITING, "BadRequest")] * 10)
    assert await read(cluster, follow=True) == b"at last\n"
    assert len(sleeps.delays) == 10
    assert max(sleeps.delays) <= 5.0
    assert sleeps.delays[0] < sleeps.delays[-1]
    await cluster.close()


async def test_follow_ends_when_the_pod_disappears_before_it_started(server: FakeApiServer) -> None:
    cluster = make_cluster(server.url, sleep=Sleeps())
    server.fail("log", fake.answer(400, WAITING, "BadRequest"))
    with pytest.raises(NotFound):
        await read(cluster, follow=True)
    await cluster.close()


@pytest.mark.parametrize(
    "fault",
    [
        fake.answer(500, "Get https://node:10250/containerLogs: dial tcp: connection refused", "InternalError"),
        fake.text(404, "404 page not found"),
        fake.answer(429, "busy", "TooManyRequests"),
        fake.reset(),
        fake.stream(b"half", then="abort"),
    ],
)
async def test_a_log_that_cannot_be_had_now_is_temporary(
    server: FakeApiServer, cluster: KubernetesCluster, fault: fake.Fault
) -> None:
    server.logs["p"] = [b"x"]
    server.fail("log", fault, fault)  # aiohttp itself tries a GET twice
    with pytest.raises(TemporaryError):
        await read(cluster, follow=True)


async def test_a_wrong_container_is_not_found_with_the_servers_text(
    server: FakeApiServer, cluster: KubernetesCluster
) -> None:
    server.fail("log", fake.answer(400, "container x is not valid for pod p", "BadRequest"))
    with pytest.raises(NotFound, match="not valid"):
        await read(cluster, follow=True)


async def test_following_many_logs_does_not_use_up_the_requests(server: FakeApiServer) -> None:
    cluster = make_cluster(server.url, concurrency=1)
    server.fail("log", *[fake.stream(b"begin\n", then="silent")] * 4)
    logs = [cluster.logs("default", "p", container="main", follow=True) for _ in range(4)]
    assert [await anext(log) for log in logs] == [b"begin\n"] * 4
    assert await cluster.find("default", "x") is None
    for log in logs:
        await log.aclose()
    await cluster.close()


async def test_a_log_that_we_may_not_read_is_refused(server: FakeApiServer, cluster: KubernetesCluster) -> None:
    server.fail("log", fake.answer(403, 'User "x" cannot get resource "pods/log"', "Forbidden"))
    with pytest.raises(ClusterRefused, match="cannot get resource"):
        await read(cluster)
