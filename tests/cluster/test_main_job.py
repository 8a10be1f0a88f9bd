"""The main job on a real API server, over HTTP: what a user submits, and what the product reports about it."""

from __future__ import annotations

import concurrent.futures
import datetime as dt
from typing import Any

import pytest

from testbed.cluster import Cluster
from tests.cluster.conftest import left_in_cluster
from tests.support.history import History, creates_in, violations
from tests.support.product import Product, wait_until

pytestmark = pytest.mark.cluster


@pytest.fixture(scope="module", params=["postgres", "sqs"])
def product_queue(request: pytest.FixtureRequest) -> str:
    """All of this holds with each queue."""
    return str(request.param)


def states(product: Product, job_id: str) -> list[str]:
    return [row["to_state"] for row in product.transitions(job_id)]


def cluster_name(product: Product, job_id: str, attempt: int = 1) -> str:
    return str(product.attempts(job_id)[attempt - 1]["cluster_name"])


def assert_nothing_left(cluster: Cluster, product: Product, job_id: str) -> None:
    wait_until(
        lambda: not left_in_cluster(cluster, product.namespace, job_id),
        what=f"nothing of {job_id} is left in the cluster",
        timeout_seconds=30,
        pause_seconds=0.3,
    )


def test_a_job_succeeds(product: Product) -> None:
    job_id = product.submit(annotations={"run": "1s"}, labels={"team": "blue"}, env={"A": "$(B) $$"})
    job = product.wait_for(job_id)
    assert (job["state"], job["reason"], job["exit_code"]) == ("succeeded", "Completed", 0)
    assert job["started_at"] <= job["finished_at"]
    assert states(product, job_id) == ["queued", "starting", "running", "succeeded"]
    [attempt] = product.attempts(job_id)
    assert attempt["number"] == 1
    assert attempt["node"]


def test_a_job_fails_with_its_exit_code(product: Product) -> None:
    job = product.wait_for(product.submit(annotations={"exit-code": "3"}))
    assert (job["state"], job["reason"], job["exit_code"]) == ("failed", "ApplicationExit", 3)
    assert "exited with code 3" in job["explanation"]


def test_an_image_that_cannot_be_pulled_fails_in_seconds(kube_cluster: Cluster, product: Product) -> None:
    text = "rpc error: code = NotFound desc = failed to resolve reference: registry.example.com/none:1: not found"
    job_id = product.submit(image="registry.example.com/none:1", annotations={"mode": "imagepull", "image-error": text})
    job = product.wait_for(job_id, timeout_seconds=30)
    assert (job["state"], job["reason"]) == ("failed", "ImageNotFound")
    assert "registry.example.com/none:1" in job["explanation"]
    created = dt.datetime.fromisoformat(job["created_at"])
    assert (dt.datetime.fromisoformat(job["finished_at"]) - created).total_seconds() < 30
    assert_nothing_left(kube_cluster, product, job_id)


def test_a_job_that_fits_no_node_waits_and_fails_by_its_queue_timeout(kube_cluster: Cluster, product: Product) -> None:
    job_id = product.submit(resources={"cpu": "4000"}, timeouts={"queue_seconds": 6, "start_seconds": 2})
    job = product.wait_for(job_id, "starting")
    job = product.wait_for(job_id)
    assert (job["state"], job["reason"]) == ("failed", "QueueTimeout")
    assert "Insufficient cpu" in job["explanation"]
    assert_nothing_left(kube_cluster, product, job_id)


@pytest.mark.parametrize("phase", ["queued", "starting", "running"])
def test_a_cancel_leaves_nothing_behind(kube_cluster: Cluster, product: Product, phase: str) -> None:
    annotations = {"starting": {"mode": "stuck"}, "running": {"run": "1h"}}.get(phase, {"run": "1h"})
    job_id = product.submit(annotations=annotations)
    if phase != "queued":
        product.wait_for(job_id, phase)
    answer = product.cancel(job_id, reason="changed my mind")
    assert answer.status_code == 202, answer.text
    job = product.wait_for(job_id)
    assert (job["state"], job["reason"]) == ("cancelled", "Cancelled")
    assert "changed my mind" in job["explanation"]
    assert left_in_cluster(kube_cluster, product.namespace, job_id) == [], (
        "cancelled is answered only when nothing is left"
    )
    assert product.cancel(job_id).status_code == 202, "a second cancel is as good as the first"


def test_a_job_that_has_ended_cannot_be_cancelled(product: Product) -> None:
    job_id = product.submit()
    product.wait_for(job_id)
    answer = product.cancel(job_id)
    assert answer.status_code == 409
    assert "succeeded" in answer.json()["detail"]


def test_a_retry_makes_attempt_two_under_a_new_name(product: Product) -> None:
    job_id = product.submit(annotations={"exit-code": "1"}, retry={"attempts": 2, "backoff_seconds": 1})
    job = product.wait_for(job_id)
    assert (job["state"], job["attempt"]) == ("failed", 2)
    first, second = product.attempts(job_id)
    assert first["cluster_name"].endswith("-1")
    assert second["cluster_name"].endswith("-2")
    assert first["cluster_name"][:-1] == second["cluster_name"][:-1]
    assert states(product, job_id).count("starting") == 2
    assert "queued" in states(product, job_id)[1:]


def test_the_run_timeout_stops_the_pod(kube_cluster: Cluster, product: Product) -> None:
    job_id = product.submit(annotations={"run": "1h"}, timeouts={"run_seconds": 2})
    job = product.wait_for(job_id)
    assert (job["state"], job["reason"]) == ("failed", "RunTimeout")
    assert states(product, job_id)[-2:] == ["stopping", "failed"]
    assert_nothing_left(kube_cluster, product, job_id)


def test_a_job_deleted_behind_our_back_is_noticed(kube_cluster: Cluster, product: Product) -> None:
    job_id = product.submit(annotations={"run": "1h"})
    product.wait_for(job_id, "running")
    kube_cluster.kubectl("delete", "job", "-n", product.namespace, cluster_name(product, job_id))
    job = product.wait_for(job_id)
    assert (job["state"], job["reason"]) == ("failed", "JobDeleted")


def test_one_key_fifty_times_at_once_is_one_job(product: Product) -> None:
    with concurrent.futures.ThreadPoolExecutor(50) as pool:
        ids = list(pool.map(lambda _: product.submit(key="the-one-key"), range(50)))
    assert len(set(ids)) == 1
    assert product.wait_for(ids[0])["state"] == "succeeded"


def test_a_quota_makes_a_job_wait_and_then_run(kube_cluster: Cluster, product: Product) -> None:
    kube_cluster.kubectl("create", "quota", "one", "-n", product.namespace, "--hard=count/jobs.batch=0")
    try:
        job_id = product.submit()
        job = wait_until(
            lambda: "quota" in ((found := product.job(job_id))["explanation"] or "") and found,
            what="the job says why it waits",
        )
        assert job["state"] == "queued"
    finally:
        kube_cluster.kubectl("delete", "quota", "one", "-n", product.namespace)
    assert product.wait_for(job_id, timeout_seconds=90)["state"] == "succeeded"


def test_the_rights_we_ship_are_enough_and_no_more(kube_cluster: Cluster, product: Product) -> None:
    product.wait_for(product.submit())
    refused = [
        (event["verb"], event["objectRef"])
        for event in kube_cluster.audit_events()
        if event.get("responseStatus", {}).get("code") == 403
        and "exceeded quota" not in event["responseStatus"].get("message", "")
        and event.get("objectRef", {}).get("namespace") == product.namespace
    ]
    assert refused == []


def test_two_hundred_jobs_at_once_keep_every_promise(kube_cluster: Cluster, product: Product) -> None:
    specs = [
        {
            "image": "registry.example.com/tool:1",
            "namespace": product.namespace,
            "annotations": {"kjr.test/exit-code": "3" if number % 10 == 0 else "0"},
        }
        for number in range(200)
    ]
    answer = product.http.post("/v1/jobs:batch", json={"jobs": specs}).json()
    ids = [str(item["job"]["id"]) for item in answer["results"]]
    jobs: dict[str, dict[str, Any]] = {job_id: product.wait_for(job_id, timeout_seconds=120) for job_id in ids}
    assert [job["exit_code"] for job in jobs.values()] == [3 if number % 10 == 0 else 0 for number in range(200)]
    history = History(
        acknowledged=dict.fromkeys(ids),
        jobs=jobs,
        transitions={job_id: product.transitions(job_id) for job_id in ids},
        creates=creates_in(kube_cluster, product.namespace),
        terminal_seen=[(job_id, job["state"]) for job_id, job in jobs.items()],
    )
    assert violations(history) == []
