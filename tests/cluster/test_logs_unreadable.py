"""Logs that cannot be read: simulated nodes have none, like a node that is cut off. No storm of requests; other jobs continue."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import pytest

from testbed.cluster import Cluster
from tests.cluster.conftest import running_product
from tests.support.postgres import Server
from tests.support.product import Product, wait_until

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(300)]

JOBS = 200
DEADLINE_SECONDS = 12


@pytest.fixture
def impatient(kube_cluster: Cluster, pg_server: Server) -> Iterator[Product]:
    """The product, giving up after seconds and not minutes."""
    with running_product(
        kube_cluster,
        pg_server,
        log_deadline_seconds=DEADLINE_SECONDS,
    ) as made:
        yield made


def test_two_hundred_logs_that_no_node_gives_are_lost_with_a_reason(kube_cluster: Cluster, impatient: Product) -> None:
    body = {
        "image": "registry.example.com/tool:1",
        "namespace": impatient.namespace,
        "command": ["run"],
        "annotations": {"kjr.test/run": "5s"},
    }
    answer = impatient.http.post("/v1/jobs:batch", json={"jobs": [body] * JOBS})
    ids = [str(item["job"]["id"]) for item in answer.json()["results"]]
    for job_id in ids:
        impatient.wait_for(job_id, timeout_seconds=120)
    began = time.monotonic()
    attempts: dict[str, dict[str, Any]] = {}

    def lost() -> bool:
        for job_id in ids:
            if job_id not in attempts:
                [attempt] = impatient.attempts(job_id)
                if attempt["logs"] != "lost":
                    return False
                attempts[job_id] = attempt
        return True

    wait_until(lost, what="every log is given up", timeout_seconds=DEADLINE_SECONDS + 60, pause_seconds=0.5)
    requests = [
        event
        for event in kube_cluster.audit_events(verb="get", resource="pods")
        if event["objectRef"].get("subresource") == "log" and event["objectRef"].get("namespace") == impatient.namespace
    ]
    print(f"{len(requests) / JOBS} requests per job, given up {time.monotonic() - began:.1f} s after the last end")  # noqa: T201
    print({event["responseStatus"]["code"] for event in requests}, attempts[ids[0]]["logs_lost"])  # noqa: T201
    assert all(attempt["logs_lost"] for attempt in attempts.values())
    assert len(requests) <= 9 * JOBS, "half a second, one, two, four, eight: and those that were followed before"
    assert time.monotonic() - began < 2.5 * DEADLINE_SECONDS, "all at once, and not sixty-four by sixty-four"
