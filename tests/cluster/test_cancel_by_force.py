"""The cancel of a pod whose node does not answer: the pod is removed by force, the job is `cancelled`, the doubt is recorded."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from typing import Any

import pytest

from testbed import manifests
from testbed.cluster import Cluster
from tests.cluster.conftest import left_in_cluster, running_product
from tests.support.postgres import Server, fetch, in_other_loop
from tests.support.product import Product, wait_until

pytestmark = pytest.mark.cluster

FORCE_AFTER_SECONDS = 2
_EVERYWHERE: dict[str, Any] = {"tolerations": [{"operator": "Exists"}], "stop_grace_seconds": 1}


@pytest.fixture(scope="module")
def impatient(kube_cluster: Cluster, pg_server: Server) -> Iterator[Product]:
    """The product, quick to use force."""
    with running_product(
        kube_cluster,
        pg_server,
        force_after_seconds=FORCE_AFTER_SECONDS,
        sweep_seconds=0.2,
    ) as made:
        yield made


def silent_node(cluster: Cluster) -> str:
    """Add a node that KWOK does not play: it never reports."""
    name = f"silent-{secrets.token_hex(3)}"
    node = manifests.node(name)
    del node["metadata"]["annotations"]
    cluster.api()("POST", "/api/v1/nodes", node).require(201)
    return name


def pods(cluster: Cluster, product: Product, job_id: str) -> list[dict[str, Any]]:
    selector = f"kube-job-runner.io%2Fjob-id={job_id}"
    answer = cluster.api()("GET", f"/api/v1/namespaces/{product.namespace}/pods?labelSelector={selector}")
    return list(answer.require(200)["items"])


def anomalies(product: Product, job_id: str) -> list[tuple[str, str]]:
    query = "SELECT kind, detail FROM anomalies WHERE job_id = $1::uuid"
    return [(row["kind"], row["detail"]) for row in in_other_loop(fetch(product.database_url, query, job_id))]


def assert_forced(cluster: Cluster, product: Product, job_id: str, node: str) -> None:
    """Cancel, and see the whole way: `stopping` while the pod is there, force, `cancelled`, nothing left, the anomaly."""
    assert product.cancel(job_id, reason="the node is dead").status_code == 202
    product.wait_for(job_id, "stopping")
    assert left_in_cluster(cluster, product.namespace, job_id) != []
    job = product.wait_for(job_id, timeout_seconds=60)
    assert (job["state"], job["reason"]) == ("cancelled", "Cancelled")
    assert "the node is dead" in job["explanation"]
    assert left_in_cluster(cluster, product.namespace, job_id) == []
    [(kind, detail)] = anomalies(product, job_id)
    assert kind == "RemovedByForce"
    assert f"may still run on node {node}" in detail
    [attempt] = product.attempts(job_id)
    removals = [
        event["responseStatus"]["code"]
        for event in cluster.audit_events(verb="delete", resource="pods")
        if event["objectRef"]["name"].startswith(attempt["cluster_name"])
        and event["user"]["username"].endswith("messages-processor")
    ]
    assert removals in ([200], [200, 200]), "the pod itself was removed: gently if it was known by then, then by force"


def test_a_pod_on_a_node_that_never_answers(kube_cluster: Cluster, impatient: Product) -> None:
    node = silent_node(kube_cluster)
    job_id = impatient.submit(node_selector={"kubernetes.io/hostname": node}, **_EVERYWHERE)
    wait_until(
        lambda: [pod for pod in pods(kube_cluster, impatient, job_id) if pod["spec"].get("nodeName") == node],
        what="the scheduler gives the pod to the silent node",
    )
    assert_forced(kube_cluster, impatient, job_id, node)
    kube_cluster.delete_node(node)


def test_a_running_pod_whose_node_vanishes(kube_cluster: Cluster, impatient: Product) -> None:
    node = kube_cluster.add_node()
    job_id = impatient.submit(
        node_selector={"kubernetes.io/hostname": node}, annotations={"run": "1h", "grace": "1h"}, **_EVERYWHERE
    )
    impatient.wait_for(job_id, "running")
    kube_cluster.delete_node(node)
    assert_forced(kube_cluster, impatient, job_id, node)


def test_a_pod_that_ends_in_its_time_is_not_forced(kube_cluster: Cluster, impatient: Product) -> None:
    job_id = impatient.submit(annotations={"run": "1h"}, **_EVERYWHERE)
    impatient.wait_for(job_id, "running")
    assert impatient.cancel(job_id).status_code == 202
    assert impatient.wait_for(job_id)["state"] == "cancelled"
    assert anomalies(impatient, job_id) == []
