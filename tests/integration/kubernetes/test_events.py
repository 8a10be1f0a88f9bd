"""The watch of Kubernetes Events: text about our objects, told once, that may be missing without harm."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from kube_job_runner.adapters.kubernetes import KubernetesCluster
from kube_job_runner.ports import Listed, Relisting, SeenEvent, SeenPod, WatchEvent
from tests.support import api_answers as fake
from tests.support.fake_apiserver import FakeApiServer
from tests.support.kubernetes import Sleeps, cluster_job, eventually, make_cluster, pod, take, until_listed

pytestmark = pytest.mark.asyncio
JOB = cluster_job()
POD_NAME = f"{JOB.cluster_name}-x7k2p"
NOW = datetime.now(UTC)


def event(number: int, *, age_seconds: float = 0, **fields: Any) -> dict[str, Any]:
    at = (NOW - timedelta(seconds=age_seconds)).strftime("%Y-%m-%dT%H:%M:%SZ")
    return {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {"name": f"event-{number}", "namespace": "default", "uid": f"uid-{number}"},
        "involvedObject": {"kind": "Pod", "name": POD_NAME, "uid": "pod-uid", "namespace": "default"},
        "reason": "Failed",
        "message": f"text {number}",
        "type": "Warning",
        "count": 1,
        "firstTimestamp": at,
        "lastTimestamp": at,
        **fields,
    }


@contextlib.asynccontextmanager
async def reading(cluster: KubernetesCluster) -> AsyncIterator[AsyncIterator[WatchEvent]]:
    try:
        async with contextlib.aclosing(cluster.watch_events()) as events:
            yield events
    finally:
        await cluster.close()


async def listed(events: AsyncIterator[WatchEvent]) -> list[SeenEvent]:
    """Return what one list tells."""
    seen: list[SeenEvent] = []
    assert isinstance(await anext(events), Relisting)
    async with asyncio.timeout(20):
        while not isinstance(found := await anext(events), Listed):
            assert isinstance(found, SeenEvent), found
            seen.append(found)
    return seen


def texts(events: list[Any]) -> list[str]:
    return [event.facts.message for event in events]


async def test_events_are_related_to_their_attempt_by_the_name_of_their_object(server: FakeApiServer) -> None:
    about_job = {"kind": "Job", "name": JOB.cluster_name, "uid": "job-uid"}
    await server.put("events", event(1))
    await server.put("events", event(2, involvedObject=about_job, reason="FailedCreate"))
    async with reading(make_cluster(server.url)) as events:
        first, second = await listed(events)
    assert (first.job_id, first.attempt) == (second.job_id, second.attempt) == (JOB.job_id, 1)
    facts = first.facts
    assert (facts.object_kind, facts.object_name, facts.object_uid) == ("Pod", POD_NAME, "pod-uid")
    assert (facts.reason, facts.message, facts.type, facts.count) == ("Failed", "text 1", "Warning", 1)
    assert facts.first_at == facts.last_at == NOW.replace(microsecond=0)
    assert (second.facts.object_kind, second.facts.reason) == ("Job", "FailedCreate")
    assert {call.query["fieldSelector"] for call in server.of("list")} == {"type=Warning"}


async def test_events_of_others_and_of_other_types_are_not_told(server: FakeApiServer) -> None:
    for number, about in enumerate(
        [
            None,
            {},
            {"kind": "Pod", "name": "web-7d4b9c-x7k2p"},
            {"kind": "Pod", "name": JOB.cluster_name},
            {"kind": "Job", "name": POD_NAME},
            {"kind": "Node", "name": JOB.cluster_name},
        ]
    ):
        await server.put("events", event(number, involvedObject=about))
    await server.put("events", event(90, type="Normal"))
    await server.put("events", event(99))
    async with reading(make_cluster(server.url)) as events:
        assert texts(await listed(events)) == ["text 99"]
        await server.put("events", event(91, involvedObject={"kind": "Pod", "name": "web-1"}))
        await server.put("events", event(92))
        assert texts(await take(events, 1)) == ["text 92"]


async def test_the_first_list_holds_what_is_young_and_a_later_one_what_was_not_told(server: FakeApiServer) -> None:
    await server.put("events", event(1, age_seconds=3600))
    await server.put("events", event(2, age_seconds=60))
    async with reading(make_cluster(server.url, relist_seconds=0.3)) as events:
        assert texts(await listed(events)) == ["text 2"]
        asking = asyncio.ensure_future(anext(events))
        assert isinstance(await asking, Relisting)
        server.fail("watch", fake.hang())
        await server.put("events", event(3, age_seconds=1800))
        async with asyncio.timeout(20):
            assert texts([await anext(events)]) == ["text 3"], "missed while nobody watched, however old"
            assert isinstance(await anext(events), Listed)
        assert await listed(events) == []
        await server.remove("events", "default", "event-2")


async def test_an_event_that_is_only_counted_on_is_told_when_its_count_has_doubled(server: FakeApiServer) -> None:
    async with reading(make_cluster(server.url)) as events:
        await listed(events)
        asking = asyncio.ensure_future(take(events, 4))
        for count in range(1, 8):
            await server.put("events", event(1, count=count))
        await server.put("events", event(1, count=7, message="another text"))
        assert [(e.facts.count, e.facts.message) for e in await asking] == [
            (1, "text 1"),
            (2, "text 1"),
            (4, "text 1"),
            (7, "another text"),
        ]


async def test_the_fields_of_newer_writers_are_read(server: FakeApiServer) -> None:
    newer: dict[str, Any] = {
        "firstTimestamp": None,
        "lastTimestamp": None,
        "count": None,
        "eventTime": (NOW - timedelta(seconds=9)).strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
        "series": {"count": 5, "lastObservedTime": NOW.strftime("%Y-%m-%dT%H:%M:%S.%fZ")},
    }
    await server.put("events", event(1, **newer))
    await server.put("events", event(2, **{**newer, "series": None}))
    async with reading(make_cluster(server.url)) as events:
        series, single = await listed(events)
    assert (series.facts.count, series.facts.last_at) == (5, NOW)
    assert (single.facts.count, single.facts.first_at) == (1, NOW - timedelta(seconds=9))
    assert single.facts.last_at == single.facts.first_at


async def test_a_long_text_is_cut(server: FakeApiServer) -> None:
    await server.put("events", event(1, message="ä" * 3000 + "\0"))
    async with reading(make_cluster(server.url)) as events:
        (seen,) = await listed(events)
    assert len(seen.facts.message.encode()) <= 1024
    assert seen.facts.message.endswith("…")


async def test_a_410_lists_again_and_repeats_nothing(server: FakeApiServer) -> None:
    await server.put("events", event(1))
    server.fail("watch", fake.answer(410))
    async with reading(make_cluster(server.url)) as events:
        assert texts(await listed(events)) == ["text 1"]
        assert await listed(events) == []
        await server.remove("events", "default", "event-1")
        await server.put("events", event(2))
        assert texts(await take(events, 1)) == ["text 2"]


async def test_without_the_right_to_read_events_the_pods_are_watched_on(server: FakeApiServer, sleeps: Sleeps) -> None:
    async def refused(fake_server: FakeApiServer, call: fake.Call, request: Any) -> Any:
        fake_server.fail("list", refused)
        if call.resource == "events":
            return await fake.answer(403, 'User "x" cannot list resource "events"', "Forbidden")(
                fake_server, call, request
            )
        return await fake_server.normally(call, request)

    server.fail("list", refused)
    cluster = make_cluster(server.url, sleep=sleeps)
    async with reading(cluster) as events, contextlib.aclosing(cluster.watch_pods()) as pods:
        assert isinstance(await anext(events), Relisting)
        waiting = asyncio.ensure_future(anext(events))
        await until_listed(pods)
        await server.put("pods", pod(1))
        assert isinstance((await take(pods, 1))[0], SeenPod)
        await eventually(lambda: sleeps.delays)  # the answer to the other list may come later
        assert not waiting.done()
        waiting.cancel()
        await asyncio.wait({waiting})
    assert max(sleeps.delays) >= 30.0, "what is refused is asked for seldom"
    assert "events" in cluster.watch_stats["event"].last_error
