"""Waiting for room on a real API server: quotas that refuse Jobs or pods, full nodes, and a Job that is suspended."""

from __future__ import annotations

import time
from typing import Any

import pytest

from testbed.cluster import Cluster
from tests.support.product import Product, wait_until

pytestmark = pytest.mark.cluster

START_SECONDS = 3


@pytest.fixture(scope="module")
def product_queue() -> str:
    return "postgres"


def says(product: Product, job_id: str, *words: str) -> dict[str, Any]:
    """Return the job once its explanation holds these words."""
    found: dict[str, Any] = wait_until(
        lambda: all(word in ((job := product.job(job_id))["explanation"] or "") for word in words) and job,
        what=f"the job says {words}",
        timeout_seconds=30,
    )
    return found


def test_a_quota_on_jobs_parks_the_namespace_and_gives_its_slots_to_another(
    kube_cluster: Cluster, product: Product
) -> None:
    kube_cluster.kubectl("create", "quota", "jobs", "-n", product.namespace, "--hard=count/jobs.batch=0")
    try:
        ids = [product.submit() for _ in range(5)]
        job = says(product, ids[0], "exceeded quota", "raises the quota")
        assert (job["state"], job["admitted_at"]) == ("queued", None)
        says(product, ids[-1], "exceeded quota")
    finally:
        kube_cluster.kubectl("delete", "quota", "jobs", "-n", product.namespace)
    for job_id in ids:
        assert product.wait_for(job_id, timeout_seconds=60)["state"] == "succeeded"


def test_a_quota_on_pods_is_waited_for_beyond_the_start_timeout(kube_cluster: Cluster, product: Product) -> None:
    first = product.submit(annotations={"run": "forever"})
    product.wait_for(first, "running")
    kube_cluster.kubectl("create", "quota", "pods", "-n", product.namespace, "--hard=count/pods=1")
    try:
        job_id = product.submit(timeouts={"start_seconds": START_SECONDS})
        says(product, job_id, "quota of the namespace is used up")
        time.sleep(START_SECONDS + 3)
        assert product.job(job_id)["state"] == "starting"
    finally:
        kube_cluster.kubectl("delete", "quota", "pods", "-n", product.namespace)
        product.cancel(first)
    assert product.wait_for(job_id, timeout_seconds=90)["state"] == "succeeded"


def test_a_full_cluster_is_waited_for_beyond_the_start_timeout(product: Product) -> None:
    job_id = product.submit(resources={"cpu": "4000"}, timeouts={"start_seconds": START_SECONDS})
    says(product, job_id, "No node has room", "ask for less")
    time.sleep(START_SECONDS + 2)
    assert product.job(job_id)["state"] == "starting"
    product.cancel(job_id)
    assert product.wait_for(job_id)["state"] == "cancelled"


def test_a_running_job_that_is_suspended_waits_and_runs_again(kube_cluster: Cluster, product: Product) -> None:
    run_seconds = 25
    job_id = product.submit(annotations={"run": "20s"}, timeouts={"run_seconds": run_seconds})
    product.wait_for(job_id, "running")
    name = product.attempts(job_id)[0]["cluster_name"]
    suspend = '{"spec":{"suspend":%s}}'
    kube_cluster.kubectl("patch", "job", name, "-n", product.namespace, "-p", suspend % "true")
    says(product, job_id, "suspended since")
    time.sleep(run_seconds + 2)
    job = product.job(job_id)
    assert (job["state"], job["reason"]) == ("running", None)
    kube_cluster.kubectl("patch", "job", name, "-n", product.namespace, "-p", suspend % "false")
    job = product.wait_for(job_id, timeout_seconds=60)
    assert (job["state"], job["reason"], job["exit_code"], job["attempt"]) == ("succeeded", "Completed", 0, 1)
    [attempt] = product.attempts(job_id)
    assert attempt["started_at"] > job["started_at"], "the attempt started again, the job keeps its first start"
