"""Store and cluster compared on a real API server: orphans are removed, zombies reported, foreign objects left."""

from __future__ import annotations

import asyncio
import datetime as dt
import json
import secrets
from collections.abc import Iterator
from typing import Any

import pytest

from kube_job_runner.domain import names
from testbed.cluster import Cluster
from tests.cluster.conftest import running_product
from tests.support.postgres import Server, fetch, in_other_loop
from tests.support.product import Product, wait_until

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(240)]
GRACE_SECONDS = 3


class Swept:
    """The product with a fast sweep, and objects that somebody else created."""

    def __init__(self, product: Product, cluster: Cluster) -> None:
        self.product = product
        self.cluster = cluster
        row = in_other_loop(fetch(product.database_url, "SELECT id::text FROM installation"))
        self.installation = str(row[0]["id"])

    def put(
        self, kind: str, name: str, *, installation: str | None, job_id: Any = None, attempt: int = 1, **spec: Any
    ) -> None:
        """Create a Job or a pod with our labels."""
        labels = {
            names.MANAGED_BY_LABEL: names.MANAGED_BY,
            names.INSTANCE_LABEL: self.product.instance,
            names.JOB_ID_LABEL: str(job_id or names.new_job_id(dt.datetime.now(dt.UTC))),
            names.ATTEMPT_LABEL: str(attempt),
            **({names.INSTALLATION_LABEL: installation} if installation else {}),
        }
        pod = {"restartPolicy": "Never", "containers": [{"name": "main", "image": "example/image:1"}]}
        annotations = {"kjr.test/run": "1h"}
        metadata = {"name": name, "namespace": self.product.namespace, "labels": labels, "annotations": annotations}
        template = {"metadata": {"labels": labels, "annotations": annotations}, "spec": pod}
        body = {
            "Job": {"apiVersion": "batch/v1", "spec": {"template": template, **spec}},
            "Pod": {"apiVersion": "v1", "spec": pod},
        }
        self.cluster.apply(json.dumps({**body[kind], "kind": kind, "metadata": metadata}))

    def names_of(self, resource: str) -> set[str]:
        """Return the names of what is there."""
        found = self.cluster.kubectl("get", resource, "-n", self.product.namespace, "-o", "name")
        return {line.rpartition("/")[2] for line in found.split()}

    def rounds_pass(self) -> None:
        """Wait until something that is certainly an orphan, put there now, was removed, and one more time."""
        for _ in range(2):
            marker = f"marker-{secrets.token_hex(3)}"
            self.put("Job", marker, installation=self.installation)
            wait_until(
                lambda marker=marker: marker not in self.names_of("jobs"),  # type: ignore[misc]
                what="an orphan is removed",
                timeout_seconds=40,
                pause_seconds=0.5,
            )


@pytest.fixture(scope="module")
def swept(kube_cluster: Cluster, pg_server: Server) -> Iterator[Swept]:
    """The product whose sweeper compares every second."""
    with running_product(
        kube_cluster, pg_server, sweep_seconds=0.2, reconcile_seconds=1, orphan_grace_seconds=GRACE_SECONDS
    ) as made:
        yield Swept(made, kube_cluster)


def test_orphans_go_and_nothing_else_does(swept: Swept) -> None:
    mine = swept.product.submit(annotations={"run": "1h"})
    swept.product.wait_for(mine, "running")
    swept.put("Job", "orphan-job", installation=swept.installation)
    swept.put("Pod", "orphan-pod", installation=swept.installation)
    another = "00000000-0000-4000-8000-000000000000"
    swept.put("Job", "foreign-job", installation=another)
    swept.put("Job", "older-job", installation=None)
    swept.put("Pod", "foreign-pod", installation=another)
    wait_until(
        lambda: not ({"orphan-job", "orphan-pod"} & (swept.names_of("jobs") | swept.names_of("pods"))),
        what="the orphans are gone",
        timeout_seconds=40,
        pause_seconds=0.5,
    )
    wait_until(
        lambda: not [name for name in swept.names_of("pods") if name.startswith("orphan-job-")],
        what="the orphan's pod is gone with it",
        timeout_seconds=20,
        pause_seconds=0.5,
    )
    swept.rounds_pass()
    [attempt] = swept.product.attempts(mine)
    assert {"foreign-job", "older-job", attempt["cluster_name"]} <= swept.names_of("jobs")
    assert {"foreign-pod"} <= swept.names_of("pods")
    assert swept.product.job(mine)["state"] == "running"
    assert len([name for name in swept.names_of("pods") if name.startswith(attempt["cluster_name"])]) == 1


def test_a_row_without_anything_in_the_cluster_ends_though_no_watcher_saw_it(swept: Swept) -> None:
    job_id = swept.product.submit(annotations={"run": "1h"})
    swept.product.wait_for(job_id, "running")
    [attempt] = swept.product.attempts(job_id)
    for name in ("job-status-processor", "pod-events-processor"):
        swept.product.kill(name)
    swept.cluster.kubectl("delete", "job", "-n", swept.product.namespace, attempt["cluster_name"])
    try:
        wait_until(
            lambda: "a cluster job is gone" in swept.product.log_file("sweeper").read_text(),
            what="the sweeper noticed",
            timeout_seconds=40,
        )
    finally:
        for name in ("job-status-processor", "pod-events-processor"):
            swept.product.start(name)
    job = swept.product.wait_for(job_id)
    assert (job["state"], job["reason"]) == ("failed", "JobDeleted")


def test_a_create_in_flight_is_left_for_its_processor(swept: Swept) -> None:
    swept.product.kill("messages-processor")
    try:
        job_id = swept.product.submit()
        swept.put("Job", "in-flight", installation=swept.installation, job_id=job_id, suspend=True)
        swept.rounds_pass()
        assert "in-flight" in swept.names_of("jobs")
        assert swept.product.job(job_id)["state"] == "queued"
    finally:
        swept.product.start("messages-processor")


def test_a_pod_that_hangs_because_its_node_is_gone_is_removed_by_force(kube_cluster: Cluster, swept: Swept) -> None:
    from kube_job_runner.adapters import kubernetes
    from kube_job_runner.settings import KubernetesEnvironment
    from kube_job_runner.settings.groups import ClusterSettings

    job_id = swept.product.submit(annotations={"run": "1h", "grace": "1h"})
    swept.product.wait_for(job_id, "running")
    [attempt] = swept.product.attempts(job_id)
    found = json.loads(
        kube_cluster.kubectl(
            "get", "pods", "-n", swept.product.namespace, "-l", f"{names.JOB_ID_LABEL}={job_id}", "-o", "json"
        )
    )
    [pod] = [(item["metadata"]["name"], item["metadata"]["uid"]) for item in found["items"]]
    config = swept.product._kubeconfigs["messages-processor"]

    async def force() -> None:
        settings = ClusterSettings(kubeconfig=str(config), instance=swept.product.instance)
        namespaces = (swept.product.namespace,)
        cluster = await kubernetes.connect(settings, KubernetesEnvironment(), namespaces=namespaces)
        try:
            job = await cluster.find(swept.product.namespace, attempt["cluster_name"])
            assert job is not None
            for grace_seconds in (None, 0):
                await cluster.delete(
                    swept.product.namespace,
                    attempt["cluster_name"],
                    cluster_uid=job.uid,
                    wait_for_pods=True,
                    pods=(pod,),
                    grace_seconds=grace_seconds,
                )
        finally:
            await cluster.close()

    asyncio.run(force())
    wait_until(lambda: pod[0] not in swept.names_of("pods"), what="the pod is gone", timeout_seconds=10)
    assert swept.product.wait_for(job_id)["state"] == "failed"
