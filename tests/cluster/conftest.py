"""The product against a real API server: each component a process with the service account, and so the rights, that we ship."""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterator
from pathlib import Path

import pytest

from testbed.cluster import Cluster
from testbed.pytest_plugin import kube_cluster, kube_namespace, kube_programs, kube_real_node, pytest_collection_finish
from tests.support import kubernetes
from tests.support.postgres import Server
from tests.support.product import WATCHING, Product

__all__ = [
    "kube_cluster",
    "kube_namespace",
    "kube_programs",
    "kube_real_node",
    "pytest_collection_finish",
]


def install(cluster: Cluster) -> tuple[str, dict[str, Path]]:
    """Make a namespace for jobs and one for the accounts, apply the shipped RBAC; return the first and the kubeconfigs."""
    suffix = secrets.token_hex(3)
    jobs, accounts = f"jobs-{suffix}", f"kjr-{suffix}"
    cluster.create_namespace(jobs)
    documents = kubernetes.rbac(accounts_namespace=accounts, jobs_namespace=jobs)
    cluster.apply(json.dumps({"apiVersion": "v1", "kind": "List", "items": documents}))
    configs = {name: cluster.service_account_kubeconfig(accounts, name, duration_seconds=7200) for name in WATCHING}
    return jobs, configs


@pytest.fixture(scope="module")
def product(kube_cluster: Cluster, pg_server: Server) -> Iterator[Product]:
    """The whole product on the shared cluster, with graces that suit a test."""
    namespace, configs = install(kube_cluster)
    url = pg_server.create_database()
    made = Product(
        database_url=url,
        namespace=namespace,
        kubeconfigs=configs,
        instance=f"t{secrets.token_hex(3)}",
        image_grace_seconds=2,
        config_grace_seconds=2,
        lease_seconds=10,
        sweep_seconds=0.2,
    )
    with made:
        yield made
    pg_server.drop_database(url)


def left_in_cluster(cluster: Cluster, namespace: str, job_id: str | None = None) -> list[str]:
    """Return the Jobs and pods of ours in a namespace, of one job or of all."""
    selector = "app.kubernetes.io/managed-by=kube-job-runner"
    if job_id is not None:
        selector += f",kube-job-runner.io/job-id={job_id}"
    found = cluster.kubectl("get", "jobs,pods", "-n", namespace, "-l", selector, "-o", "name")
    return found.split()
