"""Fixtures of the product on a real API server: each component is a process with the shipped service account and its rights."""

from __future__ import annotations

import contextlib
import os
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from testbed.cluster import Cluster
from testbed.elasticmq import ElasticMQ
from testbed.pytest_plugin import kube_cluster, kube_namespace, kube_programs, kube_real_node, pytest_collection_finish
from tests.support.kubernetes import install
from tests.support.postgres import Server, in_other_loop
from tests.support.product import Product

__all__ = [
    "kube_cluster",
    "kube_namespace",
    "kube_programs",
    "kube_real_node",
    "pytest_collection_finish",
]


@pytest.fixture(scope="module")
def product_queue() -> str:
    """The queue of the product; a module that runs with each queue overrides it with parameters."""
    return "postgres"


def queue_settings(name: str, request: pytest.FixtureRequest) -> dict[str, Any]:
    """Return the settings of the product for a queue: `postgres`, or `sqs` with a queue that is made here."""
    if name == "postgres":
        return {}
    from tests.support import sqs

    server: ElasticMQ = request.getfixturevalue("sqs_server")
    os.environ.update(server.environment)  # components inherit it; nothing else here uses AWS
    where = sqs.new_address(server.url)
    in_other_loop(sqs.make(where, max_deliveries=200))
    return sqs.settings_of(server, where)


@contextlib.contextmanager
def running_product(
    cluster: Cluster, server: Server, *, installed: tuple[str, dict[str, Path]] | None = None, **settings: Any
) -> Iterator[Product]:
    """Run the product on a database of its own, in a namespace with the accounts and rights that we ship.

    `installed` is what `install` returned, for tests that add to the namespace before the product starts.
    """
    namespace, configs = installed or install(cluster)
    url = server.create_database()
    instance = f"t{secrets.token_hex(3)}"
    with Product(database_url=url, namespace=namespace, kubeconfigs=configs, instance=instance, **settings) as made:
        yield made
    server.drop_database(url)


@pytest.fixture(scope="module")
def product(
    kube_cluster: Cluster, pg_server: Server, product_queue: str, request: pytest.FixtureRequest
) -> Iterator[Product]:
    """The whole product on the shared cluster, with short graces."""
    with running_product(
        kube_cluster,
        pg_server,
        image_grace_seconds=2,
        config_grace_seconds=2,
        lease_seconds=10,
        sweep_seconds=0.2,
        **queue_settings(product_queue, request),
    ) as made:
        yield made


def left_in_cluster(cluster: Cluster, namespace: str, job_id: str | None = None) -> list[str]:
    """Return the Jobs and pods of ours in a namespace, of one job or of all."""
    selector = "app.kubernetes.io/managed-by=kube-job-runner"
    if job_id is not None:
        selector += f",kube-job-runner.io/job-id={job_id}"
    found = cluster.kubectl("get", "jobs,pods", "-n", namespace, "-l", selector, "-o", "name")
    return found.split()
