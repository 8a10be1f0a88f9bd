"""Create, adopt, find and delete over HTTP, with every answer that the API server or something before it may give."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import msgspec
import pytest

from kube_job_runner import ports
from kube_job_runner.adapters.kubernetes import KubernetesCluster
from kube_job_runner.domain import names
from kube_job_runner.domain.errors import ClusterRefused, KjrError, NameTaken, TemporaryError
from kube_job_runner.ports.send_lease import SendLease, sending
from tests.support import api_answers as fake
from tests.support.clocks import SystemClock
from tests.support.fake_apiserver import FakeApiServer
from tests.support.kubernetes import cluster_job, make_cluster

JOB = cluster_job()


def test_the_adapter_is_a_cluster_by_its_types() -> None:
    def takes(cluster: ports.Cluster) -> ports.Cluster:
        return cluster

    assert takes(make_cluster("http://127.0.0.1:1")) is not None


@pytest.mark.asyncio
async def test_create_makes_one_job_and_returns_its_facts(server: FakeApiServer, cluster: KubernetesCluster) -> None:
    facts = await cluster.create(JOB)

    (stored,) = server.objects.values()
    assert facts.uid == stored["metadata"]["uid"]
    assert facts.resource_version == int(stored["metadata"]["resourceVersion"])
    assert facts.created_at is not None
    assert stored["metadata"]["name"] == JOB.cluster_name
    assert [call.verb for call in server.calls] == ["create"]
    assert server.calls[0].headers["Content-Type"] == "application/json"
    assert server.calls[0].headers["User-Agent"].startswith("kube-job-runner/")


@pytest.mark.asyncio
async def test_f23_a_create_that_timed_out_but_happened_is_adopted(server: FakeApiServer) -> None:
    cluster = make_cluster(server.url, request_seconds=0.2)
    server.fail("create", fake.done_then(fake.hang()))

    with pytest.raises(TemporaryError):
        await cluster.create(JOB)
    facts = await cluster.create(JOB)

    assert facts.uid == server.objects["jobs", "default", JOB.cluster_name]["metadata"]["uid"]
    assert len(server.objects) == 1
    await cluster.close()


@pytest.mark.asyncio
async def test_f23_a_connection_lost_under_a_create_is_tried_again_at_once_and_adopted(
    server: FakeApiServer, cluster: KubernetesCluster
) -> None:
    server.fail("create", fake.done_then(fake.reset()))

    facts = await cluster.create(JOB)

    assert [call.verb for call in server.calls] == ["create", "create", "get"]
    assert facts.uid == server.objects["jobs", "default", JOB.cluster_name]["metadata"]["uid"]


def _job_object(**labels: str) -> dict[str, Any]:
    ours = {
        names.MANAGED_BY_LABEL: names.MANAGED_BY,
        names.INSTANCE_LABEL: "test",
        names.JOB_ID_LABEL: str(JOB.job_id),
        names.ATTEMPT_LABEL: "1",
    }
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {
            "name": JOB.cluster_name,
            "namespace": "default",
            "labels": {**ours, **labels},
            "annotations": {names.SPEC_HASH_ANNOTATION: JOB.spec_hash},
        },
    }


@pytest.mark.asyncio
@pytest.mark.parametrize(
    "foreign",
    [
        {names.MANAGED_BY_LABEL: "Helm"},
        {names.INSTANCE_LABEL: "another"},
        {names.JOB_ID_LABEL: "01a7f1de-0000-7000-8000-00000000ffff"},
        {names.ATTEMPT_LABEL: "2"},
        {names.JOB_ID_LABEL: "no-uuid"},
    ],
)
async def test_f24_a_name_held_by_a_foreign_object_is_taken_and_nothing_is_deleted(
    server: FakeApiServer, cluster: KubernetesCluster, foreign: dict[str, str]
) -> None:
    await server.put("jobs", _job_object(**foreign))

    with pytest.raises(NameTaken, match=JOB.cluster_name):
        await cluster.create(JOB)

    assert len(server.objects) == 1
    assert not server.of("delete")


@pytest.mark.asyncio
async def test_a_job_of_another_spec_is_not_adopted(server: FakeApiServer, cluster: KubernetesCluster) -> None:
    await server.put("jobs", _job_object())

    with pytest.raises(NameTaken):
        await cluster.create(msgspec.structs.replace(JOB, spec_hash="ffffffffffffffff"))


@pytest.mark.asyncio
async def test_f29_a_webhook_that_adds_labels_and_containers_does_not_hinder_adoption(
    server: FakeApiServer, cluster: KubernetesCluster
) -> None:
    mutated = _job_object(**{"sidecar.example.com/injected": "true"})
    mutated["spec"] = {"template": {"spec": {"containers": [{"name": "proxy"}, {"name": "main", "image": "other:1"}]}}}
    stored = await server.put("jobs", mutated)

    assert (await cluster.create(JOB)).uid == stored["metadata"]["uid"]


@pytest.mark.asyncio
async def test_a_job_that_vanished_between_the_409_and_the_look_is_worth_another_try(
    server: FakeApiServer, cluster: KubernetesCluster
) -> None:
    server.fail("create", fake.answer(409, "already exists", "AlreadyExists"))
    with pytest.raises(TemporaryError):
        await cluster.create(JOB)


REFUSED = [
    (fake.answer(422, "Job is invalid: spec: too bad", "Invalid"), "SpecRejected"),
    (fake.answer(400, "cannot unmarshal", "BadRequest"), "SpecRejected"),
    (fake.answer(413, "Request entity too large: limit is 3145728", "RequestEntityTooLarge"), "SpecRejected"),
    (fake.answer(500, "etcdserver: request is too large", "InternalError"), "SpecRejected"),
    (
        fake.answer(
            403, 'jobs.batch is forbidden: User "kjr" cannot create resource "jobs" in API group "batch"', "Forbidden"
        ),
        "Forbidden",
    ),
    (fake.answer(403, 'admission webhook "policy.example.com" denied the request: no', "Forbidden"), "AdmissionDenied"),
    (fake.answer(400, 'admission webhook "policy.example.com" denied the request: no', "x"), "AdmissionDenied"),
    (
        fake.answer(422, "ValidatingAdmissionPolicy 'p' with binding 'b' denied request: no", "Invalid"),
        "AdmissionDenied",
    ),
    (
        fake.answer(404, 'namespaces "nope" not found', "NotFound", details={"name": "nope", "kind": "namespaces"}),
        "NamespaceNotFound",
    ),
    (
        fake.answer(403, "unable to create new content in namespace x because it is being terminated", "Forbidden"),
        "NamespaceTerminating",
    ),
]


@pytest.mark.asyncio
@pytest.mark.parametrize(("fault", "reason"), REFUSED)
async def test_a_refusal_for_good_says_why(
    server: FakeApiServer, cluster: KubernetesCluster, fault: fake.Fault, reason: str
) -> None:
    server.fail("create", fault)
    with pytest.raises(ClusterRefused) as caught:
        await cluster.create(JOB)
    assert caught.value.reason == reason
    assert JOB.cluster_name in str(caught.value)


QUOTA = 'jobs.batch "two" is forbidden: exceeded quota: q, requested: count/jobs.batch=1, used: count/jobs.batch=1'
TEMPORARY = [
    (fake.answer(403, QUOTA, "Forbidden"), "QuotaExceeded", 10.0),
    (fake.answer(409, 'Operation cannot be fulfilled on resourcequotas "q"', "Conflict"), "QuotaExceeded", 10.0),
    (fake.answer(500, "resource quota evaluation timed out", "InternalError"), "QuotaExceeded", 10.0),
    (fake.answer(403, "not yet ready to handle request", "Forbidden"), "ClusterUnavailable", 1.0),
    (fake.text(429, "Too many requests, please try again later."), "ClusterBusy", 1.0),
    (fake.answer(429, "busy", "TooManyRequests", headers={"Retry-After": "7"}), "ClusterBusy", 7.0),
    (fake.answer(429, "busy", "TooManyRequests", details={"retryAfterSeconds": 9}), "ClusterBusy", 9.0),
    (fake.answer(500, "etcdserver: leader changed", "InternalError"), "ClusterUnavailable", 1.0),
    (
        fake.answer(500, 'failed calling webhook "w": context deadline exceeded', "InternalError"),
        "ClusterUnavailable",
        1.0,
    ),
    (fake.answer(503, "apiserver is shutting down", "ServiceUnavailable"), "ClusterUnavailable", 1.0),
    (fake.answer(504, "request timed out", "Timeout"), "ClusterUnavailable", 1.0),
    (fake.text(502, "<html>bad gateway</html>", content_type="text/html"), "ClusterUnavailable", 1.0),
    (fake.text(500, "no content type", content_type=None), "ClusterUnavailable", 1.0),
    (fake.text(403, "<html>the proxy says no</html>", content_type="text/html"), "ClusterUnavailable", 1.0),
    (fake.text(404, "404 page not found"), "UnexpectedAnswer", 10.0),
    (fake.text(200, "<html>please log in</html>", content_type="text/html"), "", 5.0),
    (fake.text(302, ""), "UnexpectedAnswer", 10.0),
]


@pytest.mark.asyncio
@pytest.mark.parametrize(("fault", "reason", "least_seconds"), TEMPORARY)
async def test_f25_f30_what_may_pass_is_temporary_with_its_least_delay(
    server: FakeApiServer, cluster: KubernetesCluster, fault: fake.Fault, reason: str, least_seconds: float
) -> None:
    server.fail("create", fault)
    with pytest.raises(TemporaryError) as caught:
        await cluster.create(JOB)
    assert caught.value.reason == reason
    assert least_seconds <= caught.value.delay_seconds <= least_seconds * 4
    assert len(server.calls) == 1  # no storm: one answer, one request


@pytest.mark.asyncio
async def test_f25_resets_cost_two_requests_and_no_more(server: FakeApiServer, cluster: KubernetesCluster) -> None:
    server.fail("create", *[fake.reset()] * 5)
    with pytest.raises(TemporaryError):
        await cluster.create(JOB)
    assert len(server.calls) == 2


@pytest.mark.asyncio
@pytest.mark.parametrize("scheme", ["http", "https"])
async def test_a_server_that_is_not_there_is_temporary(scheme: str) -> None:
    cluster = make_cluster(f"{scheme}://127.0.0.1:1")
    for call in (
        cluster.create(JOB),
        cluster.find("default", "x"),
        cluster.delete("default", "x", cluster_uid="u", wait_for_pods=False),
    ):
        with pytest.raises(TemporaryError, match=r"no answer: cannot connect to 127\.0\.0\.1:1: \w") as caught:
            await call
        assert "object at" not in str(caught.value), "users read it: why a job waits"
    await cluster.close()


@pytest.mark.asyncio
async def test_after_close_every_call_is_temporary_and_opens_nothing(server: FakeApiServer) -> None:
    cluster = make_cluster(server.url)
    await cluster.close()
    with pytest.raises(TemporaryError):
        await cluster.create(JOB)
    assert not server.calls


@pytest.mark.asyncio
async def test_find_returns_ours_and_nothing_else(server: FakeApiServer, cluster: KubernetesCluster) -> None:
    assert await cluster.find("default", JOB.cluster_name) is None
    made = await cluster.create(JOB)
    assert await cluster.find("default", JOB.cluster_name) == made
    await server.put("jobs", {"metadata": {"name": "foreign", "namespace": "default"}})
    assert await cluster.find("default", "foreign") is None


@pytest.mark.asyncio
@pytest.mark.parametrize(
    "fault",
    [
        fake.text(404, "404 page not found"),
        fake.answer(403, 'User "x" cannot get resource "jobs"', "Forbidden"),
        fake.answer(503),
        fake.text(200, "{}"),
    ],
)
async def test_find_never_takes_a_failure_for_absence(
    server: FakeApiServer, cluster: KubernetesCluster, fault: fake.Fault
) -> None:
    server.fail("get", fault)
    with pytest.raises(TemporaryError):
        await cluster.find("default", JOB.cluster_name)


@pytest.mark.asyncio
@pytest.mark.parametrize(("wait_for_pods", "policy"), [(False, "Background"), (True, "Foreground")])
async def test_f31_delete_names_its_propagation_and_the_uid(
    server: FakeApiServer, cluster: KubernetesCluster, wait_for_pods: bool, policy: str
) -> None:
    made = await cluster.create(JOB)
    await cluster.delete("default", JOB.cluster_name, cluster_uid=made.uid, wait_for_pods=wait_for_pods)

    (call,) = server.of("delete")
    options = json.loads(call.body)
    assert options["propagationPolicy"] == policy
    assert options["preconditions"] == {"uid": made.uid}
    assert not server.objects


@pytest.mark.asyncio
async def test_delete_of_what_is_gone_is_success(server: FakeApiServer, cluster: KubernetesCluster) -> None:
    with sending(SendLease(SystemClock(), seconds=30)) as sent:
        await cluster.delete(
            "default", "gone", cluster_uid="u", wait_for_pods=True, pods=(("gone-pod", "v"),), grace_seconds=1
        )
    assert sent.gone == ["u", "v"], "the cluster itself says so"


@pytest.mark.asyncio
async def test_delete_leaves_another_uid_alone_and_is_success(
    server: FakeApiServer, cluster: KubernetesCluster
) -> None:
    await cluster.create(JOB)
    with sending(SendLease(SystemClock(), seconds=30)) as sent:
        await cluster.delete("default", JOB.cluster_name, cluster_uid="an-older-one", wait_for_pods=False)
    assert len(server.objects) == 1
    assert sent.gone == ["an-older-one"]


@pytest.mark.asyncio
@pytest.mark.parametrize(
    "fault",
    [
        fake.answer(409, "the object has been modified", "Conflict"),
        fake.answer(403, 'User "x" cannot delete resource "jobs"', "Forbidden"),
        fake.text(404, "404 page not found"),
        fake.answer(500, "boom", "InternalError"),
        fake.answer(422, "invalid", "Invalid"),
    ],
)
async def test_a_delete_that_was_not_taken_is_temporary(
    server: FakeApiServer, cluster: KubernetesCluster, fault: fake.Fault
) -> None:
    made = await cluster.create(JOB)
    server.fail("delete", fault)
    with sending(SendLease(SystemClock(), seconds=30)) as sent, pytest.raises(TemporaryError):
        await cluster.delete("default", JOB.cluster_name, cluster_uid=made.uid, wait_for_pods=False)
    assert sent.gone == []


@pytest.mark.asyncio
async def test_requests_in_flight_are_bounded(server: FakeApiServer) -> None:
    cluster = make_cluster(server.url, concurrency=3)
    running = most = 0
    release = asyncio.Event()

    async def counted(fake_server: FakeApiServer, call: fake.Call, request: Any) -> Any:
        nonlocal running, most
        running += 1
        most = max(most, running)
        if running == 3:
            release.set()
        await release.wait()
        running -= 1
        return await fake_server.normally(call, request)

    server.fail("create", *[counted] * 12)
    made = await asyncio.gather(*(cluster.create(cluster_job(number)) for number in range(12)))

    assert most == 3
    assert len({facts.uid for facts in made}) == 12
    await cluster.close()


@pytest.mark.asyncio
async def test_only_our_errors_leave_whatever_the_server_does(
    server: FakeApiServer, cluster: KubernetesCluster
) -> None:
    faults: list[fake.Fault] = (
        [row[0] for row in REFUSED] + [row[0] for row in TEMPORARY] + [fake.reset(), fake.stream(b"{", then="abort")]
    )
    for fault in faults:
        for verb in ("create", "get", "delete"):
            server.fail(verb, fault, fault)
    for _ in faults:
        for call in (
            cluster.create(JOB),
            cluster.find("default", JOB.cluster_name),
            cluster.delete("default", JOB.cluster_name, cluster_uid="u", wait_for_pods=False),
        ):
            try:
                await call
            except KjrError:
                continue


async def _delete(cluster: KubernetesCluster, *pods: tuple[str, str], grace_seconds: int | None = 0) -> None:
    await cluster.delete(
        "default", JOB.cluster_name, cluster_uid="u", wait_for_pods=True, pods=pods, grace_seconds=grace_seconds
    )


@pytest.mark.asyncio
async def test_pods_are_deleted_by_uid_with_their_grace_after_the_job_even_when_that_is_gone(
    server: FakeApiServer, cluster: KubernetesCluster
) -> None:
    stored = await server.put("pods", {"metadata": {"name": "p-1", "namespace": "default"}})
    await server.put("pods", {"metadata": {"name": "p-2", "namespace": "default"}})
    await _delete(
        cluster, ("p-1", stored["metadata"]["uid"]), ("p-2", "an-older-one"), ("p-3", "gone"), grace_seconds=7
    )
    first, *others = server.of("delete")
    assert (first.resource, {call.name for call in others}) == ("jobs", {"p-1", "p-2", "p-3"})
    assert {call.json["gracePeriodSeconds"] for call in others} == {7}
    assert {call.json["preconditions"]["uid"] for call in others} == {stored["metadata"]["uid"], "an-older-one", "gone"}
    assert {name for _, _, name in server.objects} == {"p-2"}, "a pod of another uid is not ours"


@pytest.mark.asyncio
async def test_without_a_grace_period_pods_are_left_to_their_job(
    server: FakeApiServer, cluster: KubernetesCluster
) -> None:
    await _delete(cluster, ("p-1", "u"), grace_seconds=None)
    assert [call.resource for call in server.of("delete")] == ["jobs"]


@pytest.mark.asyncio
async def test_a_pod_that_could_not_be_deleted_is_tried_again(
    server: FakeApiServer, cluster: KubernetesCluster
) -> None:
    await server.put("pods", {"metadata": {"name": "p-1", "namespace": "default"}})

    async def not_found(fake_server: FakeApiServer, call: fake.Call, request: Any) -> Any:
        return await fake_server.normally(call, request)

    server.fail("delete", not_found, fake.answer(403, 'User "x" cannot delete resource "pods"', "Forbidden"))
    with pytest.raises(TemporaryError, match="p-1"):
        await _delete(cluster, ("p-1", "u"))


@pytest.mark.asyncio
async def test_more_memory_is_not_adopted_as_the_same_work(server: FakeApiServer, cluster: KubernetesCluster) -> None:
    await cluster.create(JOB)
    with pytest.raises(NameTaken):
        await cluster.create(msgspec.structs.replace(JOB, memory="2Gi"))
    assert (await cluster.create(msgspec.structs.replace(JOB, avoid_nodes=("n",)))).uid


@pytest.mark.asyncio
async def test_what_is_created_carries_the_installation(server: FakeApiServer) -> None:
    cluster = make_cluster(server.url, installation="id-1")
    await cluster.create(JOB)
    (stored,) = server.objects.values()
    assert stored["metadata"]["labels"][names.INSTALLATION_LABEL] == "id-1"
    await cluster.close()


@pytest.mark.asyncio
async def test_the_conditions_of_a_node_are_read_where_that_is_allowed(
    server: FakeApiServer, cluster: KubernetesCluster
) -> None:
    ready = {"type": "Ready", "status": "Unknown", "reason": "NodeStatusUnknown", "lastTransitionTime": None}
    node = {"metadata": {"name": "n/1", "namespace": ""}, "status": {"conditions": [ready]}}
    await server.put("nodes", node)
    await server.put("nodes", {"metadata": {"name": "n2", "namespace": ""}})
    server.fail("get", fake.answer(403, 'User "x" cannot get resource "nodes"', "Forbidden"), fake.answer(404))
    assert await cluster.node_conditions("n2") is None
    with pytest.raises(TemporaryError):
        await cluster.node_conditions("n2")  # something in front of the API server knows no such path
    assert await cluster.node_conditions("n2") == ()
    assert await cluster.node_conditions("gone") is None
    server.fail("get", fake.text(200, json.dumps(node)), fake.text(200, "<html>"), fake.text(500, "oops"))
    conditions = await cluster.node_conditions("n1")
    assert conditions is not None
    assert [(c.type, c.status, c.reason) for c in conditions] == [("Ready", "Unknown", "NodeStatusUnknown")]
    for _ in range(2):
        with pytest.raises(TemporaryError):
            await cluster.node_conditions("n1")


def _relabelled(*, template: bool = False, **labels: str | None) -> Any:
    """Create, but store other labels, as an admission webhook makes it."""

    async def create(server: FakeApiServer, call: fake.Call, request: Any) -> Any:
        manifest = call.json
        metadata = manifest["spec"]["template"]["metadata"] if template else manifest["metadata"]
        changed = {**metadata["labels"], **labels}
        metadata["labels"] = {name: value for name, value in changed.items() if value is not None}
        stored = await server.put("jobs", manifest)
        return await fake.text(201, json.dumps(stored))(server, call, request)

    return create


@pytest.mark.asyncio
@pytest.mark.parametrize("template", [False, True], ids=["Job", "template"])
@pytest.mark.parametrize(
    "labels",
    [{names.MANAGED_BY_LABEL: "argocd"}, {names.JOB_ID_LABEL: None}, {names.INSTANCE_LABEL: "prod"}],
    ids=["managed-by", "job-id", "instance"],
)
async def test_a_job_whose_labels_a_webhook_changed_is_refused_and_not_left_running(
    server: FakeApiServer, cluster: KubernetesCluster, labels: dict[str, str | None], template: bool
) -> None:
    server.fail("create", _relabelled(template=template, **labels))

    with pytest.raises(ClusterRefused, match=next(iter(labels))) as raised:
        await cluster.create(JOB)

    assert raised.value.reason == "LabelsChanged"
    assert server.objects == {}


@pytest.mark.asyncio
async def test_a_webhook_that_drops_labels_is_noticed_when_the_answer_was_lost(
    server: FakeApiServer, cluster: KubernetesCluster
) -> None:
    dropped = _job_object()
    del dropped["metadata"]["labels"][names.MANAGED_BY_LABEL]
    await server.put("jobs", dropped)

    with pytest.raises(ClusterRefused, match=names.MANAGED_BY_LABEL):
        await cluster.create(JOB)

    assert server.objects == {}
