"""The informer over HTTP: lists, watches, and one test per way in which a watch is known to go wrong."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

import pytest
from aiohttp import web

from kube_job_runner.adapters.kubernetes import KubernetesCluster
from kube_job_runner.domain.facts import PodFacts
from kube_job_runner.ports import Listed, Relisting, SeenJob, SeenPod, WatchEvent
from tests.support import api_answers as fake
from tests.support.fake_apiserver import FakeApiServer
from tests.support.kubernetes import Sleeps, cluster_job, eventually, labels, make_cluster, pod, take, until_listed

pytestmark = pytest.mark.asyncio


@contextlib.asynccontextmanager
async def watching(cluster: KubernetesCluster) -> AsyncIterator[AsyncIterator[WatchEvent]]:
    """The pods of a cluster, watched, and everything closed afterwards."""
    try:
        async with contextlib.aclosing(cluster.watch_pods()) as events:
            yield events
    finally:
        await cluster.close()


def phases(events: list[Any]) -> list[tuple[str, str]]:
    """What pods were seen: name and phase, or `gone`."""
    return [(event.facts.name, "gone" if event.facts.gone else event.facts.phase) for event in events]


async def test_a_list_then_changes_in_order(server: FakeApiServer) -> None:
    await server.put("pods", pod(1))
    async with watching(make_cluster(server.url)) as events:
        assert phases(await until_listed(events)) == [("pod-1", "Pending")]
        await server.put("pods", pod(1, phase="Running"))
        await server.put("pods", pod(2))
        await server.put("pods", pod(1, phase="Succeeded"))
        await server.remove("pods", "default", "pod-1")
        seen = await take(events, 4)
    assert phases(seen) == [("pod-1", "Running"), ("pod-2", "Pending"), ("pod-1", "Succeeded"), ("pod-1", "gone")]
    assert seen[3].facts.phase == "Succeeded"  # the last state is kept


async def test_jobs_are_watched_by_the_same_rules(server: FakeApiServer) -> None:
    cluster = make_cluster(server.url)
    made = await cluster.create(cluster_job())
    async with contextlib.aclosing(cluster.watch_jobs()) as events:
        (seen,) = await until_listed(events)
        assert isinstance(seen, SeenJob)
        assert (seen.facts, seen.job_id, seen.attempt) == (made, cluster_job().job_id, 1)
        await cluster.delete("default", cluster_job().cluster_name, cluster_uid=made.uid, wait_for_pods=False)
        (gone,) = await take(events, 1)
        assert gone.facts.gone
        assert gone.facts.uid == made.uid
    await cluster.close()


async def test_only_ours_are_listed_and_watched(server: FakeApiServer) -> None:
    await server.put("pods", {"metadata": {"name": "other", "namespace": "default"}})
    await server.put("pods", pod(3, labels=labels(3, instance="another")))
    await server.put("pods", pod(4, labels={**labels(4), "kube-job-runner.io/job-id": "forged"}))
    async with watching(make_cluster(server.url)) as events:
        assert await until_listed(events) == []
        await server.put("pods", {"metadata": {"name": "other2", "namespace": "default"}})
        await server.put("pods", pod(1))
        assert phases(await take(events, 1)) == [("pod-1", "Pending")]
    wanted = "app.kubernetes.io/managed-by=kube-job-runner,kube-job-runner.io/instance=test"
    assert {call.query["labelSelector"] for call in server.calls} == {wanted}


async def test_lists_are_paged_and_consistent(server: FakeApiServer) -> None:
    for number in range(7):
        await server.put("pods", pod(number))
    async with watching(make_cluster(server.url, page_limit=3)) as events:
        assert len(await until_listed(events)) == 7
        await eventually(lambda: server.of("watch"))
    lists = server.of("list")
    assert [call.query.get("continue", "") != "" for call in lists] == [False, True, True]
    assert all(call.query["limit"] == "3" and "resourceVersion" not in call.query for call in lists)
    watch = server.of("watch")[0].query
    assert watch["resourceVersion"] == str(server.version)
    assert watch["allowWatchBookmarks"] == "true"
    assert int(watch["timeoutSeconds"]) <= 30


async def test_the_server_is_asked_to_end_the_watch_before_silence_is_suspect(server: FakeApiServer) -> None:
    async with watching(make_cluster(server.url, idle_seconds=330.0)) as events:
        await until_listed(events)
        asking = asyncio.ensure_future(anext(events))
        await eventually(lambda: server.of("watch"))
        asking.cancel()
        await asyncio.wait({asking})
    assert 230 <= int(server.of("watch")[0].query["timeoutSeconds"]) <= 300


async def test_facts_that_did_not_change_are_not_told_twice(server: FakeApiServer) -> None:
    async with watching(make_cluster(server.url)) as events:
        await until_listed(events)
        await server.put("pods", pod(1))
        for count in range(5):
            await server.put("pods", pod(1, annotations={"noise": str(count)}))
        await server.put("pods", pod(1, phase="Running"))
        assert phases(await take(events, 2)) == [("pod-1", "Pending"), ("pod-1", "Running")]


async def test_f33_l1_a_silent_watch_is_noticed_and_nothing_is_lost(server: FakeApiServer) -> None:
    server.fail("watch", fake.stream(then="silent"))
    cluster = make_cluster(server.url, idle_seconds=0.3)
    async with watching(cluster) as events:
        await until_listed(events)
        asking = asyncio.ensure_future(take(events, 1))
        await eventually(lambda: server.of("watch"))
        await server.put("pods", pod(1))  # happens while the watch is half open
        assert phases(await asking) == [("pod-1", "Pending")]
    assert cluster.watch_stats["pod"].silent == 1
    assert cluster.watch_stats["pod"].lists == 1  # resumed, not listed anew


async def test_f33_a_watch_that_never_answers_is_noticed(server: FakeApiServer) -> None:
    server.fail("watch", fake.hang())
    async with watching(make_cluster(server.url, idle_seconds=0.3)) as events:
        await until_listed(events)
        asking = asyncio.ensure_future(take(events, 1))
        await eventually(lambda: server.of("watch"))
        await server.put("pods", pod(1))
        assert phases(await asking) == [("pod-1", "Pending")]


async def test_l2_refused_connections_on_reconnect_are_survived() -> None:
    async with FakeApiServer() as first:
        cluster = make_cluster(first.url, max_delay_seconds=0.1)
        events = cluster.watch_pods()
        await until_listed(events)
        asking = asyncio.ensure_future(take(events, 2))
        await eventually(lambda: first.of("watch"))
        port = int(first.url.rpartition(":")[2])
    # now nothing listens there; a new server takes the port over, with a later history
    await eventually(lambda: cluster.watch_stats["pod"].connections >= 4)
    async with _on_port(port, version=2000) as second:
        await second.put("pods", pod(1))
        second.compact()
        assert isinstance((await asking)[0], Relisting)
        await events.aclose()
        await cluster.close()


@contextlib.asynccontextmanager
async def _on_port(port: int, *, version: int) -> AsyncIterator[FakeApiServer]:
    async with FakeApiServer(version=version) as server:
        assert server._runner is not None
        site = web.TCPSite(server._runner, "127.0.0.1", port, reuse_address=True)
        await site.start()
        yield server


@pytest.mark.parametrize(
    "expired",
    [
        fake.answer(410, "too old resource version: 1 (2)", "Expired"),
        fake.text(410, "gone", content_type=None),
        fake.stream(fake.error_line(410, "too old resource version: 1 (2)")),
        fake.stream(
            fake.bookmark(5000), fake.error_line(410, "The resourceVersion for the provided watch is too old.", "Gone")
        ),
    ],
)
async def test_f34_l3_l4_a_410_in_either_form_lists_anew_and_tells_what_vanished(
    server: FakeApiServer, expired: fake.Fault
) -> None:
    await server.put("pods", pod(1))
    await server.put("pods", pod(2))
    server.version = 6000
    cluster = make_cluster(server.url)

    async def vanish_then_expire(fake_server: FakeApiServer, call: fake.Call, request: Any) -> Any:
        await fake_server.remove("pods", "default", "pod-2", silently=True)
        return await expired(fake_server, call, request)

    server.fail("watch", vanish_then_expire)
    async with watching(cluster) as events:
        assert len(await until_listed(events)) == 2
        again = await until_listed(events)
    assert phases(again) == [("pod-1", "Pending"), ("pod-2", "gone")]
    assert isinstance(again[1].facts, PodFacts)
    assert again[1].facts.phase == "Pending"  # the last state is kept
    assert cluster.watch_stats["pod"].expired == 1


async def test_f34_a_continue_token_that_expires_mid_list_begins_the_list_again(server: FakeApiServer) -> None:
    for number in range(6):
        await server.put("pods", pod(number))

    async def compacted(fake_server: FakeApiServer, call: fake.Call, request: Any) -> Any:
        first = await fake_server.normally(call, request)
        await fake_server.remove("pods", "default", "pod-0", silently=True)
        fake_server.compact()
        return first

    server.fail("list", compacted)
    async with watching(make_cluster(server.url, page_limit=4)) as events:
        seen = phases(await until_listed(events))
    assert len(server.of("list")) == 4
    assert seen[:4] == [(f"pod-{number}", "Pending") for number in range(4)]  # the page that was read before
    assert seen[4:9] == [(f"pod-{number}", "Pending") for number in range(1, 6)]
    assert seen[9:] == [("pod-0", "gone")]


async def test_l5_a_line_cut_off_is_read_again_on_the_next_connection(server: FakeApiServer) -> None:
    cluster = make_cluster(server.url)

    async def cut(fake_server: FakeApiServer, call: fake.Call, request: Any) -> Any:
        whole = fake.line("ADDED", await fake_server.put("pods", pod(1)))
        second = fake.line("ADDED", await fake_server.put("pods", pod(2)))
        return await fake.stream(whole, second[: len(second) // 2], then="abort")(fake_server, call, request)

    server.fail("watch", cut)
    async with watching(cluster) as events:
        await until_listed(events)
        assert phases(await take(events, 2)) == [("pod-1", "Pending"), ("pod-2", "Pending")]
    assert cluster.watch_stats["pod"].lists == 1


@pytest.mark.parametrize(
    "garbage",
    [
        b'{"type":"ADDED","obj',
        b"\xff\xfe\x00\n",
        b"null\n",
        b"[]\n",
        b"<html>\n",
        b'{"type":"ADDED"}\n',
        b"\n\n",
        b"{" * 5000 + b"\n",
    ],
)
async def test_l5_garbage_between_lines_does_not_stop_the_watch(server: FakeApiServer, garbage: bytes) -> None:
    async def garbled(fake_server: FakeApiServer, call: fake.Call, request: Any) -> Any:
        before = fake.line("ADDED", await fake_server.put("pods", pod(1)))
        after = fake.line("ADDED", await fake_server.put("pods", pod(2)))
        return await fake.stream(before + garbage + after)(fake_server, call, request)

    server.fail("watch", garbled)
    async with watching(make_cluster(server.url)) as events:
        await until_listed(events)
        assert phases(await take(events, 2)) == [("pod-1", "Pending"), ("pod-2", "Pending")]


async def test_lines_cut_anywhere_into_chunks_are_put_together(server: FakeApiServer) -> None:
    async def in_pieces(fake_server: FakeApiServer, call: fake.Call, request: Any) -> Any:
        data = b"".join([fake.line("ADDED", await fake_server.put("pods", pod(number))) for number in range(5)])
        pieces = [data[start : start + 7] for start in range(0, len(data), 7)]
        return await fake.stream(*pieces, then="silent")(fake_server, call, request)

    server.fail("watch", in_pieces)
    async with watching(make_cluster(server.url)) as events:
        await until_listed(events)
        assert phases(await take(events, 5)) == [(f"pod-{number}", "Pending") for number in range(5)]
    assert len(server.of("watch")) == 1


async def test_a_very_long_line_arrives_whole(server: FakeApiServer) -> None:
    async with watching(make_cluster(server.url)) as events:
        await until_listed(events)
        await server.put("pods", pod(1, annotations={"big": "x" * 3_000_000}))
        assert phases(await take(events, 1)) == [("pod-1", "Pending")]


async def test_l6_watches_that_close_at_once_are_backed_off(server: FakeApiServer, sleeps: Sleeps) -> None:
    server.fail("watch", *[fake.stream()] * 12)
    async with watching(make_cluster(server.url, sleep=sleeps, first_delay_seconds=0.05)) as events:
        await until_listed(events)
        asking = asyncio.ensure_future(anext(events))
        await eventually(lambda: server.pending_faults("watch") == 0)
        await eventually(lambda: len(sleeps.delays) >= 12)
        asking.cancel()
        await asyncio.wait({asking})
    for count, delay in enumerate(sleeps.delays[:12]):
        most = min(0.05 * 2**count, 10.0)
        assert most / 2 <= delay <= most


async def test_l6_closing_after_every_event_is_paced_but_never_slow(server: FakeApiServer, sleeps: Sleeps) -> None:
    async def one_event(fake_server: FakeApiServer, call: fake.Call, request: Any) -> Any:
        stored = await fake_server.put("pods", pod(len(fake_server.objects)))
        return await fake.stream(fake.line("ADDED", stored))(fake_server, call, request)

    server.fail("watch", *[one_event] * 20)
    async with watching(make_cluster(server.url, sleep=sleeps)) as events:
        await until_listed(events)
        assert len(await take(events, 20)) == 20
    assert len(sleeps.delays) >= 19
    assert max(sleeps.delays) <= 1.0
    assert min(sleeps.delays[10:19]) >= 0.5


@pytest.mark.parametrize(
    "fault",
    [
        fake.answer(429, "busy", "TooManyRequests", headers={"Retry-After": "3"}),
        fake.text(500, "no content type", content_type=None),
        fake.text(503, "{}", content_type="application/json; charset=utf-8"),
        fake.answer(403, 'User "x" cannot list resource "pods"', "Forbidden"),
        fake.text(200, "<html>log in</html>", content_type="text/html"),
        fake.text(200, '{"metadata":{"resourceVersion":"abc"},"items":[]}'),
        fake.text(200, '{"metadata":{},"items":[]}'),
        fake.reset(),
        fake.stream(b'{"metadata":{"resourceVersion":"5"},"items":[', then="abort"),
    ],
)
async def test_l7_lists_and_watches_survive_every_bad_answer(
    server: FakeApiServer, sleeps: Sleeps, fault: fake.Fault
) -> None:
    await server.put("pods", pod(1))
    server.fail("list", fault, fault)
    server.fail("watch", fault)
    cluster = make_cluster(server.url, sleep=sleeps)
    async with watching(cluster) as events:
        assert phases(await until_listed(events)) == [("pod-1", "Pending")]
        await server.put("pods", pod(2))
        assert phases(await take(events, 1)) == [("pod-2", "Pending")]
    assert cluster.watch_stats["pod"].lists == 1
    assert cluster.watch_stats["pod"].crashes == 0


async def test_f25_retry_after_is_a_minimum_for_lists(server: FakeApiServer, sleeps: Sleeps) -> None:
    server.fail("list", fake.answer(429, "busy", "TooManyRequests", headers={"Retry-After": "7"}))
    async with watching(make_cluster(server.url, sleep=sleeps)) as events:
        await until_listed(events)
    assert 7.0 <= sleeps.delays[0] <= 9.0


async def test_a_watch_that_is_refused_again_and_again_leads_to_a_new_list(
    server: FakeApiServer, sleeps: Sleeps
) -> None:
    server.fail("watch", *[fake.stream(fake.error_line(500, "too large resource version", "Timeout"))] * 5)
    async with watching(make_cluster(server.url, sleep=sleeps)) as events:
        await until_listed(events)
        assert await until_listed(events) == []


async def test_l8_f36_bookmarks_move_the_version_on_and_their_absence_does_no_harm(server: FakeApiServer) -> None:
    server.fail(
        "watch",
        fake.stream(fake.bookmark(1001, initial=True), fake.bookmark(1234)),
        fake.stream(),
        fake.stream(fake.line("SOMETHING-NEW", {"metadata": {"resourceVersion": "1300"}})),
    )
    cluster = make_cluster(server.url)
    async with watching(cluster) as events:
        await until_listed(events)
        asking = asyncio.ensure_future(take(events, 1))
        await eventually(lambda: len(server.of("watch")) == 4)
        await server.put("pods", pod(1))  # version 1001: older than where the watch is by now
        server.version = 2000
        await server.put("pods", pod(2))
        assert phases(await asking) == [("pod-2", "Pending")]
    assert [call.query["resourceVersion"] for call in server.of("watch")] == ["1000", "1234", "1234", "1300"]


async def test_l10_f35_order_of_added_lines_is_not_taken_for_a_version(server: FakeApiServer) -> None:
    first, second = await server.put("pods", pod(1)), await server.put("pods", pod(2))
    server.fail("list", fake.text(200, '{"metadata":{"resourceVersion":"1000"},"items":[]}'))
    server.fail("watch", fake.stream(fake.line("ADDED", second), fake.line("ADDED", first)))
    async with watching(make_cluster(server.url)) as events:
        await until_listed(events)
        assert phases(await take(events, 2)) == [("pod-2", "Pending"), ("pod-1", "Pending")]


async def test_f37_a_lagging_list_is_refused_and_nothing_looks_gone(server: FakeApiServer) -> None:
    # Real pauses: a server that stays behind for ten lists is believed, and without pauses those are over in no time.
    async with watching(make_cluster(server.url, first_delay_seconds=0.1, max_delay_seconds=0.1)) as events:
        await until_listed(events)
        await server.put("pods", pod(1))
        await server.put("pods", pod(1, phase="Running"))
        assert len(await take(events, 2)) == 2
        server.lag_version = 1000  # before pod-1 was
        asking = asyncio.ensure_future(until_listed(events))
        server.compact()
        server.fail("watch", fake.answer(410))
        await server.put("pods", pod(2))
        await _break_watch(server)
        await eventually(lambda: len(server.of("list")) >= 4)
        server.lag_version = None
        again = phases(await asking)
    assert again == [("pod-1", "Running"), ("pod-2", "Pending")]


async def _break_watch(server: FakeApiServer) -> None:
    assert server._runner is not None
    assert server._runner.server is not None
    for connection in list(server._runner.server.connections):
        if connection.transport is not None:
            connection.transport.abort()


async def test_f37_older_news_of_a_known_pod_is_dropped(server: FakeApiServer) -> None:
    old = await server.put("pods", pod(1, phase="Running"))
    new = await server.put("pods", pod(1, phase="Succeeded"))
    server.fail("watch", fake.stream(fake.line("MODIFIED", new), fake.line("MODIFIED", old)))
    async with watching(make_cluster(server.url)) as events:
        assert phases(await until_listed(events)) == [("pod-1", "Succeeded")]
        await server.put("pods", pod(2))
        assert phases(await take(events, 1)) == [("pod-2", "Pending")]


async def test_a_history_that_was_replaced_is_believed_in_the_end(server: FakeApiServer, sleeps: Sleeps) -> None:
    await server.put("pods", pod(1))
    cluster = make_cluster(server.url, sleep=sleeps)
    async with watching(cluster) as events:
        await until_listed(events)
        server.objects.clear()
        server.history.clear()
        server.version = 10
        await server.put("pods", pod(2))
        server.compacted = 5000
        asking = asyncio.ensure_future(until_listed(events))
        await _break_watch(server)
        assert phases(await asking) == [("pod-2", "Pending")]
        server.compacted = 0
    assert cluster.watch_stats["pod"].stale_lists == 11


async def test_the_periodic_list_tells_everything_again(server: FakeApiServer) -> None:
    await server.put("pods", pod(1))
    async with watching(make_cluster(server.url, relist_seconds=0.2)) as events:
        for _ in range(3):
            assert phases(await until_listed(events)) == [("pod-1", "Pending")]


async def test_f38_what_vanished_while_a_list_failed_is_gone_in_the_next(server: FakeApiServer) -> None:
    await server.put("pods", pod(1))
    async with watching(make_cluster(server.url, relist_seconds=0.2)) as events:
        assert len(await until_listed(events)) == 1
        await server.remove("pods", "default", "pod-1", silently=True)
        assert phases(await until_listed(events)) == [("pod-1", "gone")]
        assert await until_listed(events) == []


async def test_lists_begin_only_when_the_consumer_asks_for_more(server: FakeApiServer) -> None:
    async with watching(make_cluster(server.url)) as events:
        assert isinstance(await anext(events), Relisting)
        await asyncio.sleep(0.05)
        assert not server.calls  # the consumer reads its own state now
        assert isinstance(await anext(events), Listed)


async def test_several_namespaces_are_one_list_and_one_stream(server: FakeApiServer) -> None:
    await server.put("pods", pod(1, namespace="a"))
    await server.put("pods", pod(2, namespace="b"))
    await server.put("pods", pod(3, namespace="c"))
    async with watching(make_cluster(server.url, namespaces=("a", "b"))) as events:
        listed = await until_listed(events, namespaces=2)
        assert sorted(phases(listed)) == [("pod-1", "Pending"), ("pod-2", "Pending")]
        await server.put("pods", pod(4, namespace="b"))
        await server.put("pods", pod(5, namespace="c"))
        await server.put("pods", pod(6, namespace="a"))
        assert sorted(phases(await take(events, 2))) == [("pod-4", "Pending"), ("pod-6", "Pending")]


async def test_a_namespace_that_cannot_be_listed_holds_up_no_other(server: FakeApiServer) -> None:
    await server.put("pods", pod(1, namespace="a"))
    allowed = asyncio.Event()

    async def not_b(fake_server: FakeApiServer, call: fake.Call, request: Any) -> Any:
        if call.namespace == "b" and not allowed.is_set():
            fake_server.fail("list", not_b)
            return await fake.answer(403, 'User "x" cannot list resource "pods"', "Forbidden")(
                fake_server, call, request
            )
        return await fake_server.normally(call, request)

    server.fail("list", not_b, not_b)
    sleeps = Sleeps()
    cluster = make_cluster(server.url, namespaces=("a", "b"), sleep=sleeps)
    async with watching(cluster) as events:
        assert isinstance(await anext(events), Relisting)
        assert phases(await take(events, 1)) == [("pod-1", "Pending")]
        assert await take(events, 1) == [Listed("a")]
        await server.put("pods", pod(2, namespace="a"))
        assert phases(await take(events, 1)) == [("pod-2", "Pending")]
        assert list(cluster.troubles()) == ["b"]
        assert "cannot list resource" in cluster.troubles()["b"]
        allowed.set()
        assert await take(events, 1) == [Listed("b")]
        assert cluster.troubles() == {}
    assert sleeps.delays


async def test_a_410_in_one_namespace_lists_all_of_them_anew(server: FakeApiServer) -> None:
    await server.put("pods", pod(1, namespace="a"))
    await server.put("pods", pod(2, namespace="b"))
    server.fail("watch", fake.answer(410))
    async with watching(make_cluster(server.url, namespaces=("a", "b"))) as events:
        assert len(await until_listed(events, namespaces=2)) == 2
        assert len(await until_listed(events, namespaces=2)) == 2


async def test_a_namespace_that_is_never_listed_does_not_keep_the_others_from_being_listed_again(
    server: FakeApiServer,
) -> None:
    await server.put("pods", pod(1, namespace="a"))

    async def not_b(fake_server: FakeApiServer, call: fake.Call, request: Any) -> Any:
        fake_server.fail("list", not_b)
        if call.namespace == "b":
            return await fake.answer(403, "no", "Forbidden")(fake_server, call, request)
        return await fake_server.normally(call, request)

    server.fail("list", not_b, not_b)
    async with watching(make_cluster(server.url, namespaces=("a", "b"), relist_seconds=0.2)) as events:
        for _ in range(3):
            assert phases(await until_listed(events)) == [("pod-1", "Pending")]


async def test_a_star_watches_all_namespaces(server: FakeApiServer) -> None:
    await server.put("pods", pod(1, namespace="a"))
    await server.put("pods", pod(2, namespace="b"))
    async with watching(make_cluster(server.url, namespaces=("*",))) as events:
        assert len(await until_listed(events)) == 2
    assert server.of("list")[0].namespace is None


async def test_a_slow_consumer_loses_nothing(server: FakeApiServer) -> None:
    async with watching(make_cluster(server.url)) as events:
        await until_listed(events)
        first = asyncio.ensure_future(take(events, 1))
        await eventually(lambda: server.of("watch"))
        for number in range(500):
            await server.put("pods", pod(number))
        await first
        rest = await take(events, 499)
    assert [event.facts.name for event in rest] == [f"pod-{number}" for number in range(1, 500)]


async def test_two_watchers_each_see_everything(server: FakeApiServer) -> None:
    cluster = make_cluster(server.url)
    one, two = cluster.watch_pods(), cluster.watch_pods()
    await until_listed(one)
    await until_listed(two)
    await server.put("pods", pod(1))
    assert phases(await take(one, 1)) == phases(await take(two, 1)) == [("pod-1", "Pending")]
    await one.aclose()
    await two.aclose()
    await cluster.close()


async def test_closing_the_iterator_closes_its_connection(server: FakeApiServer) -> None:
    cluster = make_cluster(server.url)
    events = cluster.watch_pods()
    await until_listed(events)
    asking = asyncio.ensure_future(anext(events))
    await eventually(lambda: server.of("watch"))
    asking.cancel()
    await asyncio.wait({asking})
    await events.aclose()
    assert not [task for task in asyncio.all_tasks() if "_round" in repr(task) or "follow" in repr(task)]
    await cluster.close()


async def test_a_bug_is_counted_and_the_watch_goes_on(
    server: FakeApiServer, sleeps: Sleeps, monkeypatch: pytest.MonkeyPatch
) -> None:
    await server.put("pods", pod(1))
    cluster = make_cluster(server.url, sleep=sleeps)
    async with watching(cluster) as events:
        await until_listed(events)
        with monkeypatch.context() as patch:
            patch.setattr("kube_job_runner.adapters.kubernetes.watch._take", lambda *_: 1 / 0)
            await server.put("pods", pod(2))
            assert isinstance((await take(events, 1))[0], Relisting)
        (one, two, listed) = await take(events, 3)
    assert phases([one, two]) == [("pod-1", "Pending"), ("pod-2", "Pending")]
    assert isinstance(one, SeenPod)
    assert isinstance(listed, Listed)
    assert cluster.watch_stats["pod"].crashes == 1
