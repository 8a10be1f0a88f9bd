"""A burst in which the API server closes watches without an error: nothing may be missed."""

from __future__ import annotations

import signal
from collections.abc import Iterator

import pytest

from testbed import cluster as clusters
from testbed.cluster import Cluster
from tests.cluster.conftest import running_product
from tests.support.history import History, violations
from tests.support.postgres import Server
from tests.support.product import Product, wait_until

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(400)]

JOBS = 1000
WATCHERS = ("job-status-processor", "pod-events-processor")


@pytest.fixture(scope="module")
def own_cluster(kube_programs: None) -> Iterator[Cluster]:
    """A cluster whose metrics no other test touches."""
    with clusters.start(audit=True) as started:
        yield started


@pytest.fixture
def own_product(own_cluster: Cluster, pg_server: Server) -> Iterator[Product]:
    with running_product(own_cluster, pg_server) as made:
        yield made


def terminated(cluster: Cluster) -> float:
    return sum(sample.value for sample in cluster.metric_samples("apiserver_terminated_watchers_total"))


def live_jobs(product: Product) -> int:
    query = {"state": "queued,starting,running,stopping", "limit": "500"}
    return len(product.http.get("/v1/jobs", params=query).json()["jobs"])


def test_nothing_is_missed_when_watches_are_closed_silently(own_cluster: Cluster, own_product: Product) -> None:
    product = own_product
    first = product.submit()
    product.wait_for(first)
    before = terminated(own_cluster)
    spec = {"image": "registry.example.com/tool:1", "namespace": product.namespace}
    ids: list[str] = []
    for half in range(2):
        answer = product.http.post(
            "/v1/jobs:batch",
            json={
                "jobs": [
                    spec | {"annotations": {"kjr.test/exit-code": "3" if number % 7 == half else "0"}}
                    for number in range(JOBS // 2)
                ]
            },
        )
        ids += [str(item["job"]["id"]) for item in answer.json()["results"]]
    # Both watchers are stopped in the middle of the burst: the server's buffers fill up, and it drops their watches.
    for name in WATCHERS:
        product.send_signal(name, signal.SIGSTOP)
    wait_until(lambda: terminated(own_cluster) > before, what="the server closes a watch", timeout_seconds=90)
    for name in WATCHERS:
        product.send_signal(name, signal.SIGCONT)
    wait_until(lambda: live_jobs(product) == 0, what="every job has ended", timeout_seconds=200, pause_seconds=0.5)
    jobs = {job_id: product.job(job_id) for job_id in ids}
    expected = [3 if number % 7 == half else 0 for half in range(2) for number in range(JOBS // 2)]
    assert [job["exit_code"] for job in jobs.values()] == expected
    history = History(
        acknowledged=dict.fromkeys(ids),
        jobs=jobs,
        transitions={job_id: product.transitions(job_id) for job_id in ids},
        creates=list(own_cluster.audit_events(verb="create", resource="jobs")),
    )
    assert violations(history) == []
    assert terminated(own_cluster) > before
