"""The list of what is ours over HTTP: metadata alone, page by page, complete or not at all; and the sweep that uses it."""

from __future__ import annotations

import datetime as dt
from typing import Any

import pytest

from kube_job_runner import ports
from kube_job_runner.adapters.kubernetes import KubernetesCluster
from kube_job_runner.adapters.kubernetes.inventory import METADATA_ONLY
from kube_job_runner.adapters.postgres import Postgres
from kube_job_runner.domain import messages, names
from kube_job_runner.domain.errors import TemporaryError
from kube_job_runner.domain.facts import JobFacts
from kube_job_runner.domain.messages import Observed
from kube_job_runner.domain.states import State
from kube_job_runner.services.reconcile import Found, Reconciler
from kube_job_runner.settings.groups import SweepSettings
from tests.support import api_answers as fake
from tests.support.clocks import SystemClock
from tests.support.fake_apiserver import FakeApiServer
from tests.support.kubernetes import labels, make_cluster, pod
from tests.support.postgres import finish, make_attempt, make_change, make_submission, store_jobs

pytestmark = pytest.mark.asyncio


async def listed(cluster: KubernetesCluster) -> list[ports.OwnedObject]:
    pages = [page async for page in cluster.list_owned()]
    return [owned for page in pages if not isinstance(page, ports.Unlisted) for owned in page]


def forbidden(*namespaces: str) -> Any:
    """Refuse lists in these namespaces, always."""

    async def refuse(server: FakeApiServer, call: fake.Call, request: Any) -> Any:
        server.fail("list", refuse)
        if call.namespace not in namespaces:
            return await server.normally(call, request)
        return await fake.answer(403, 'User "x" cannot list resource', "Forbidden")(server, call, request)

    return refuse


def job_object(
    name: str, *, job_id: Any = None, attempt: int = 1, installation: str = "", **metadata: Any
) -> dict[str, Any]:
    marked = {names.INSTALLATION_LABEL: installation} if installation else {}
    ids = {names.JOB_ID_LABEL: str(job_id), names.ATTEMPT_LABEL: str(attempt)} if job_id is not None else {}
    return {
        "metadata": {"name": name, "namespace": "default", "labels": {**labels(), **ids, **marked}, **metadata},
        "status": "a shape that nobody knows",
    }


async def test_metadata_is_asked_for_alone_and_every_page_is_read(server: FakeApiServer) -> None:
    for number in range(5):
        await server.put("pods", pod(number))
    owner = [{"kind": "Job", "uid": "job-uid", "controller": True}, {"kind": "Other", "uid": "x", "controller": False}]
    marked = {**labels(3), names.INSTALLATION_LABEL: "id-1"}
    await server.put(
        "pods", pod(9, ownerReferences=owner, deletionTimestamp="2026-01-01T00:00:00Z") | {"status": "whatever"}
    )
    await server.put("jobs", job_object("job-1"))
    await server.put("pods", pod(20, labels={**labels(), names.INSTANCE_LABEL: "another"}))
    await server.put("pods", pod(21, labels=marked))
    cluster = make_cluster(server.url, page_limit=2)
    found = await listed(cluster)
    await cluster.close()
    assert [owned.kind for owned in found] == ["Job"] + ["Pod"] * 7
    assert [owned.name for owned in found[1:]] == [*(f"pod-{number}" for number in (0, 1, 2, 3, 4, 9, 21))]
    assert (found[6].owner_uid, found[6].deleting) == ("job-uid", True)
    assert [owned.installation for owned in found] == [""] * 7 + ["id-1"]
    assert {call.headers["Accept"] for call in server.of("list")} == {METADATA_ONLY}
    assert len(server.of("list")) == 1 + 4


@pytest.mark.parametrize(
    "fault",
    [
        fake.answer(410, "The provided continue parameter is too old", "Expired"),
        fake.answer(403, 'User "x" cannot list resource "pods"', "Forbidden"),
        fake.text(200, "<html>log in</html>"),
        fake.answer(500),
    ],
    ids=["expired", "forbidden", "no-list", "error"],
)
async def test_a_list_that_cannot_be_completed_raises(server: FakeApiServer, fault: fake.Fault) -> None:
    await server.put("pods", pod(1))
    await server.put("jobs", job_object("job-1"))
    cluster = make_cluster(server.url)

    async def as_usual(fake_server: FakeApiServer, call: fake.Call, request: Any) -> Any:
        return await fake_server.normally(call, request)

    server.fail("list", as_usual, fault)
    with pytest.raises(TemporaryError):
        await listed(cluster)
    await cluster.close()


async def test_a_refused_removal_is_temporary(server: FakeApiServer, cluster: KubernetesCluster) -> None:
    await server.put("jobs", job_object("job-1"))
    (owned,) = await listed(cluster)
    server.fail("delete", fake.answer(403, 'User "x" cannot delete resource "jobs"', "Forbidden"))
    with pytest.raises(TemporaryError):
        await cluster.remove_owned(owned)
    await cluster.remove_owned(owned)
    (_, call) = server.of("delete")
    assert call.json["preconditions"] == {"uid": owned.uid}
    assert call.json["propagationPolicy"] == "Background"
    assert not server.objects


async def sweep(pg: Postgres, cluster: KubernetesCluster) -> Found:
    reconciler = Reconciler(
        store=pg.reconcile_store, cluster=cluster, queue=pg.queue, clock=SystemClock(), settings=SweepSettings()
    )
    return await reconciler.run_once()


async def observed(pg: Postgres) -> list[Observed]:
    found = await pg.queue.receive(limit=1000, wait_seconds=0, visibility_seconds=60)
    await pg.queue.ack([delivery.receipt for delivery in found])
    decoded = [messages.decode(delivery.body) for delivery in found]
    return [message for message in decoded if isinstance(message, Observed)]


async def test_store_and_cluster_are_compared_in_both_directions(pg: Postgres, server: FakeApiServer) -> None:
    ours = await pg.reconcile_store.installation_id()
    live, zombie, ended, queued = await store_jobs(pg, *(make_submission() for _ in range(4)))
    await pg.process_store.commit(
        [
            make_change(live, State.RUNNING, attempts=(make_attempt(live, cluster_uid="u-live"),)),
            make_change(zombie, State.RUNNING, attempts=(make_attempt(zombie, cluster_uid="u-zombie"),)),
        ],
        receipts={},
    )
    gone_at = dt.datetime.now(dt.UTC)
    await finish(pg, ended, attempts=(make_attempt(ended, cluster_uid="u-ended", gone_at=gone_at),))
    await observed(pg)
    young = dt.datetime.now(dt.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    forgotten = names.new_job_id(gone_at)
    for item in (
        job_object("live", uid="u-live", job_id=live.id, installation=ours),
        job_object("forgotten", job_id=forgotten, installation=ours),
        job_object("young", job_id=forgotten, installation=ours, creationTimestamp=young),
        job_object("ended", uid="u-again", job_id=ended.id, installation=ours),
        job_object("in-flight", job_id=queued.id, installation=ours),
        job_object("another-installation", job_id=forgotten, installation="another"),
        job_object("without-installation", job_id=forgotten),
    ):
        await server.put("jobs", item)
    lost = job_object("lost-pod", job_id=forgotten, installation=ours)
    lost["metadata"]["ownerReferences"] = [{"kind": "Job", "uid": "gone", "controller": True}]
    await server.put("pods", lost)
    cluster = make_cluster(server.url)
    first, second = await sweep(pg, cluster), await sweep(pg, cluster)
    await cluster.close()
    assert first == Found(orphan_jobs=2, orphan_pods=1, zombies=1, foreign=2)
    assert (second.orphan_jobs, second.orphan_pods, second.foreign) == (0, 0, 2)
    assert {name for _, _, name in server.objects} == {
        "live",
        "young",
        "in-flight",
        "another-installation",
        "without-installation",
    }
    reported = await observed(pg)
    assert {(m.job_id, m.attempt) for m in reported} == {(zombie.id, 1)}
    assert reported[0].seen == JobFacts(uid="u-zombie", gone=True)


async def test_a_namespace_that_cannot_be_listed_holds_up_no_other(server: FakeApiServer) -> None:
    await server.put("pods", pod(1, namespace="a"))
    await server.put("pods", pod(2, namespace="b"))
    server.fail("list", forbidden("a"))
    cluster = make_cluster(server.url, namespaces=("a", "b"))
    pages = [page async for page in cluster.list_owned()]
    refused = [page for page in pages if isinstance(page, ports.Unlisted)]
    assert [page.namespace for page in refused] == ["a"]
    assert "cannot list resource" in refused[0].why
    assert [owned.name for page in pages if not isinstance(page, ports.Unlisted) for owned in page] == ["pod-2"]
    await cluster.close()


async def test_when_no_namespace_can_be_listed_that_is_an_error(server: FakeApiServer) -> None:
    server.fail("list", forbidden("a", "b"))
    cluster = make_cluster(server.url, namespaces=("a", "b"))
    with pytest.raises(TemporaryError, match="cannot list resource"):
        await listed(cluster)
    await cluster.close()
