"""The record of a job that the cluster has forgotten: it still says what happened, when, and what was printed."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from testbed.cluster import Cluster
from testbed.realnode import RealNode
from tests.cluster.conftest import left_in_cluster, running_product
from tests.support.postgres import Server
from tests.support.product import COMPONENTS, Product, wait_until

pytestmark = [pytest.mark.cluster, pytest.mark.realnode, pytest.mark.timeout(240)]

REAL: dict[str, Any] = {
    "image": "localhost/busybox:1",
    "node_selector": {"kjr.test/real": "1"},
    "tolerations": [{"key": "kjr.test/real", "operator": "Exists"}],
    "stop_grace_seconds": 1,
}
LINES = 'for i in 1 2 3; do echo "row $i of $HOSTNAME"; done; echo "no such table: orders" >&2; exit 3'


@pytest.fixture(scope="module")
def product(kube_cluster: Cluster, kube_real_node: RealNode, pg_server: Server) -> Iterator[Product]:
    """The product with a grace that suits a test, and Jobs that are removed soon."""
    with running_product(
        kube_cluster,
        pg_server,
        config_grace_seconds=2,
        cleanup_delay_seconds=1,
        sweep_seconds=0.2,
    ) as made:
        yield made


def submit_all(product: Product) -> dict[str, str]:
    retry = {"attempts": 2, "backoff_seconds": 0.1}
    specs: dict[str, dict[str, Any]] = {
        "failed": {"command": ["sh", "-c", LINES], "retry": retry},
        "succeeded": {"command": ["sh", "-c", "echo all is well"]},
        "cancelled": {"command": ["sh", "-c", "echo begun; sleep 1000"]},
        "never started": {"command": ["true"], "secrets": [{"env": "TOKEN", "name": "no-such-secret", "key": "k"}]},
    }
    return {name: product.submit(**(REAL | spec)) for name, spec in specs.items()}


def logs_undone(product: Product, ids: dict[str, str]) -> list[str]:
    """Return the jobs of which the log of an attempt that started is neither stored nor lost yet."""
    return [
        name
        for name, job_id in ids.items()
        for attempt in product.attempts(job_id)
        if attempt["started_at"] and attempt["logs"] not in ("stored", "lost")
    ]


def forget(cluster: Cluster, product: Product) -> None:
    """Delete all objects of the jobs from the cluster, Events too; then stop every component but the web server."""
    for kind in ("jobs", "pods", "events"):
        cluster.kubectl("delete", kind, "--all", "-n", product.namespace)
    assert left_in_cluster(cluster, product.namespace) == []
    for name in COMPONENTS:
        if name != "web-server":
            product.kill(name)


def written_by(pod: str) -> list[str]:
    """Return the lines that `LINES` writes, sorted: the order between the two outputs of a container is not kept."""
    return ["no such table: orders", *(f"row {row} of {pod}" for row in (1, 2, 3))]


def read(product: Product, path: str, **query: str) -> Any:
    answer = product.http.get(path, params=query)
    assert answer.status_code == 200, answer.text
    return answer.json() if answer.headers["content-type"].startswith("application/json") else answer.text


@pytest.fixture(scope="module")
def ids(kube_cluster: Cluster, product: Product) -> dict[str, str]:
    """Jobs that have ended in different ways, of which only the record is left."""
    ids = submit_all(product)
    product.wait_for(ids["cancelled"], "running", timeout_seconds=120)
    product.cancel(ids["cancelled"], reason="superseded")
    for job_id in ids.values():
        product.wait_for(job_id, timeout_seconds=120)
    wait_until(
        lambda: not logs_undone(product, ids),
        what="the log of every attempt that started is stored",
        timeout_seconds=90,
    )
    wait_until(
        lambda: not left_in_cluster(kube_cluster, product.namespace), what="all is cleaned up", pause_seconds=0.5
    )
    forget(kube_cluster, product)
    return ids


def test_the_explanation_of_a_failure(product: Product, ids: dict[str, str]) -> None:
    explained = read(product, f"/v1/jobs/{ids['failed']}/explanation")
    assert "exited with code 3" in explained["sentence"]
    assert (explained["reason"], explained["category"], explained["cause"]) == (
        "ApplicationExit",
        "application_exit",
        "application",
    )
    assert explained["missing"] == []
    for number, attempt in enumerate(explained["attempts"], start=1):
        verdict = attempt["verdict"]
        assert (attempt["number"], verdict["exit_code"], verdict["rule"]) == (number, 3, "command-exit")
        assert verdict["charged_to"] == "attempts"
        assert verdict["retried"] is (number == 1)
        assert attempt["node"] == "127.0.0.1"
        [pod] = attempt["pods"]
        [container] = pod["containers"]
        assert container["exit_code"] == 3
        assert "BackoffLimitExceeded" in {event["reason"] for event in attempt["events"]}
        [printed] = attempt["last_lines"]
        assert sorted(printed["lines"]) == written_by(pod["name"])
    assert len(explained["attempts"]) == 2


def test_the_explanation_of_what_never_started(product: Product, ids: dict[str, str]) -> None:
    explained = read(product, f"/v1/jobs/{ids['never started']}/explanation")
    assert 'secret "no-such-secret" not found' in explained["sentence"]
    [attempt] = explained["attempts"]
    assert (attempt["verdict"]["rule"], attempt["verdict"]["cause"]) == ("config-missing", "permanent")
    assert any("no-such-secret" in event["message"] for event in attempt["events"])


def test_who_cancelled_and_why(product: Product, ids: dict[str, str]) -> None:
    explained = read(product, f"/v1/jobs/{ids['cancelled']}/explanation")
    assert "superseded" in explained["sentence"]
    assert explained["state"] == "cancelled"


@pytest.mark.parametrize(
    ("name", "phases"),
    [
        ("failed", {"queued", "created", "scheduled", "running"}),
        ("succeeded", {"queued", "created", "scheduled", "running"}),
        ("cancelled", {"queued", "created", "scheduled", "running", "finishing"}),
        ("never started", {"queued", "created", "scheduled"}),
    ],
)
def test_the_timeline(product: Product, ids: dict[str, str], name: str, phases: set[str]) -> None:
    seen = read(product, f"/v1/jobs/{ids[name]}/timeline")["phases"]
    assert phases <= {phase["name"] for phase in seen}, seen
    assert all(phase["ended_at"] for phase in seen), "nothing goes on"
    assert [phase["started_at"] for phase in seen] == sorted(phase["started_at"] for phase in seen)


def test_the_logs_of_every_attempt(product: Product, ids: dict[str, str]) -> None:
    assert read(product, f"/v1/jobs/{ids['succeeded']}/logs") == "all is well\n"
    assert read(product, f"/v1/jobs/{ids['cancelled']}/logs") == "begun\n"
    pods = [attempt["pod_name"] for attempt in product.attempts(ids["failed"])]
    assert len(set(pods)) == 2
    for number, pod in enumerate(pods, start=1):
        text = read(product, f"/v1/jobs/{ids['failed']}/logs", attempt=str(number))
        assert sorted(text.splitlines()) == written_by(pod)
    assert read(product, f"/v1/jobs/{ids['failed']}/logs", grep="table") == "no such table: orders\n"
