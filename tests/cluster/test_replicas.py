"""Two processes of each component: correct together, and they hand over their work when they stop."""

from __future__ import annotations

import signal
from collections.abc import Iterator

import httpx2
import pytest

from testbed.cluster import Cluster
from tests.cluster.conftest import left_in_cluster, running_product
from tests.support.history import History, creates_in, violations
from tests.support.postgres import Server
from tests.support.product import COMPONENTS, Product, free_port, wait_until

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(300)]


@pytest.fixture
def doubled(kube_cluster: Cluster, pg_server: Server) -> Iterator[tuple[Product, httpx2.Client]]:
    """The product with two processes of each component, and a client of the second web server."""
    port = free_port()
    with (
        running_product(
            kube_cluster,
            pg_server,
            cleanup_delay_seconds=2,
            sweep_seconds=0.2,
            lease_seconds=10,
            log_deadline_seconds=2,  # simulated nodes have no logs
        ) as made,
        httpx2.Client(base_url=f"http://127.0.0.1:{port}", timeout=60) as second,
    ):
        for name in COMPONENTS:
            made.start(name, replica="-2", **({"port": port} if name == "web-server" else {}))
        wait_until(lambda: _ready(second), what="the second web server is ready")
        yield made, second


def _ready(client: httpx2.Client) -> bool:
    try:
        return client.get("/readyz").status_code == 200
    except httpx2.TransportError:
        return False


def test_two_of_everything_keep_every_promise(kube_cluster: Cluster, doubled: tuple[Product, httpx2.Client]) -> None:
    product, second = doubled
    ids = []
    for number in range(120):
        client = second if number % 2 else product.http
        spec = {
            "image": "registry.example.com/tool:1",
            "namespace": product.namespace,
            "annotations": {"kjr.test/exit-code": "3" if number % 5 == 0 else "0", "kjr.test/run": "500ms"},
        }
        # The same key through both web servers is one job.
        answers = [
            each.post("/v1/jobs", json=spec, headers={"Idempotency-Key": f"r-{number}"}) for each in (client, second)
        ]
        assert {answer.status_code for answer in answers} == {201}
        assert len({answer.json()["id"] for answer in answers}) == 1
        ids.append(str(answers[0].json()["id"]))
    jobs = {job_id: product.wait_for(job_id, timeout_seconds=120) for job_id in ids}
    assert [job["exit_code"] for job in jobs.values()] == [3 if number % 5 == 0 else 0 for number in range(120)]
    wait_until(
        lambda: not left_in_cluster(kube_cluster, product.namespace),
        what="nothing is left",
        timeout_seconds=60,
        pause_seconds=0.5,
    )
    history = History(
        acknowledged={job_id: f"r-{number}" for number, job_id in enumerate(ids)},
        jobs=jobs,
        transitions={job_id: product.transitions(job_id) for job_id in ids},
        creates=creates_in(kube_cluster, product.namespace),
        left=left_in_cluster(kube_cluster, product.namespace),
    )
    assert violations(history) == []


def test_every_component_stops_gently_in_the_middle_of_work(doubled: tuple[Product, httpx2.Client]) -> None:
    product, _ = doubled
    spec = {
        "image": "registry.example.com/tool:1",
        "namespace": product.namespace,
        "annotations": {"kjr.test/run": "1s"},
    }
    answer = product.http.post("/v1/jobs:batch", json={"jobs": [spec] * 100})
    ids = [str(item["job"]["id"]) for item in answer.json()["results"]]
    for name in COMPONENTS:
        assert product.kill(name, number=signal.SIGTERM, timeout_seconds=30) == 0, name
        product.start(name)
    product.wait_ready()
    assert {product.wait_for(job_id, timeout_seconds=120)["state"] for job_id in ids} == {"succeeded"}
