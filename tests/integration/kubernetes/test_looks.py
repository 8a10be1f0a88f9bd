"""A look over HTTP: one GET of the Job, then one list of its pods, and what each answer means."""

from __future__ import annotations

from typing import Any

import pytest

from kube_job_runner.adapters.kubernetes import KubernetesCluster
from kube_job_runner.adapters.kubernetes.looks import CONTROLLER_UID_LABEL
from kube_job_runner.domain.errors import TemporaryError
from kube_job_runner.domain.sight import Sight
from tests.support import api_answers as fake
from tests.support.fake_apiserver import FakeApiServer
from tests.support.kubernetes import cluster_job

JOB = cluster_job()

pytestmark = pytest.mark.asyncio


async def put_pod(server: FakeApiServer, name: str, job_uid: str) -> None:
    """Store a pod without any label of ours, as it is after somebody removed them."""
    owner = {"apiVersion": "batch/v1", "kind": "Job", "name": "x", "uid": job_uid, "controller": True}
    metadata: dict[str, Any] = {
        "name": name,
        "namespace": "default",
        "labels": {CONTROLLER_UID_LABEL: job_uid},
        "ownerReferences": [owner],
    }
    status = {"phase": "Running"}
    await server.put("pods", {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "status": status})


async def look(cluster: KubernetesCluster, uid: str) -> Sight:
    return await cluster.look(JOB.namespace, JOB.cluster_name, cluster_uid=uid)


async def test_a_look_is_two_requests_and_finds_the_pods_by_the_uid_of_their_job(
    server: FakeApiServer, cluster: KubernetesCluster
) -> None:
    uid = (await cluster.create(JOB)).uid
    await put_pod(server, "ours", uid)
    await put_pod(server, "another", "another-uid")
    seen = await look(cluster, uid)
    assert seen.job is not None
    assert seen.job.uid == uid
    assert [(pod.name, pod.job_uid, pod.phase) for pod in seen.pods or ()] == [("ours", uid, "Running")]
    assert [call.verb for call in server.calls] == ["create", "get", "list"]
    assert "resourceVersion" not in server.calls[-1].query, "a quorum answers, not a cache"


async def test_a_job_that_is_not_there_is_not_there(server: FakeApiServer, cluster: KubernetesCluster) -> None:
    assert await look(cluster, "uid") == Sight(job=None, pods=())


@pytest.mark.parametrize("verb", ["get", "list"])
@pytest.mark.parametrize(
    "fault",
    [fake.answer(503), fake.answer(429), fake.text(404, "no such page"), fake.text(200, "welcome"), fake.answer(500)],
)
async def test_no_other_answer_says_that_something_is_gone(
    server: FakeApiServer, cluster: KubernetesCluster, verb: str, fault: fake.Fault
) -> None:
    uid = (await cluster.create(JOB)).uid
    server.fail(verb, *[fault] * 5)
    with pytest.raises(TemporaryError):
        await look(cluster, uid)


async def test_without_the_right_to_list_pods_nothing_is_said_about_them(
    server: FakeApiServer, cluster: KubernetesCluster
) -> None:
    uid = (await cluster.create(JOB)).uid
    server.fail("list", fake.answer(403, "pods is forbidden: User x cannot list resource", "Forbidden"))
    assert (await look(cluster, uid)).pods is None
