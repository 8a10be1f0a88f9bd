"""Jobs in two namespaces of one installation; a fault of one namespace does not affect the other."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from typing import Any

import pytest

from testbed.cluster import Cluster
from tests.cluster.conftest import left_in_cluster, running_product
from tests.support.kubernetes import grant, install, install_into
from tests.support.postgres import Server
from tests.support.product import Product, wait_until

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(300)]


@pytest.fixture(scope="module")
def product(kube_cluster: Cluster, pg_server: Server) -> Iterator[Product]:
    """The product for four namespaces: two healthy ones, one without rights, one that does not exist."""
    first, configs = install(kube_cluster)
    suffix = first.removeprefix("jobs-")
    second = install_into(kube_cluster, f"second-{suffix}", like=first)
    closed, missing = f"closed-{suffix}", f"missing-{suffix}"
    kube_cluster.create_namespace(closed)
    with running_product(
        kube_cluster,
        pg_server,
        installed=(first, configs),
        namespaces=f"{first},{second},{closed},{missing}",
        cleanup_delay_seconds=1,
        reconcile_seconds=2,
        relist_seconds=3,
        orphan_grace_seconds=1,
        sweep_seconds=0.2,
        log_deadline_seconds=2,  # simulated nodes have no logs
        metrics_port=0,
    ) as made:
        yield made


def second_of(product: Product) -> str:
    return product.namespace.replace("jobs-", "second-")


def submit(product: Product, namespace: str, run: str = "0s", **spec: Any) -> str:
    return product.submit(namespace=namespace, annotations={"run": run}, **spec)


def test_jobs_run_and_are_cancelled_and_cleaned_up_in_each(kube_cluster: Cluster, product: Product) -> None:
    spaces = (product.namespace, second_of(product))
    quick = {submit(product, space): space for space in spaces for _ in range(3)}
    long = {submit(product, space, "10m"): space for space in spaces}
    for job_id, space in quick.items():
        job = product.wait_for(job_id)
        assert (job["state"], job["namespace"]) == ("succeeded", space)
    for job_id in long:
        product.wait_for(job_id, "running")
        assert product.cancel(job_id).status_code == 202
        assert product.wait_for(job_id)["state"] == "cancelled"
    for space in spaces:
        listed = product.http.get("/v1/jobs", params={"namespace": space}).json()["jobs"]
        assert {job["id"] for job in listed} == {j for jobs in (quick, long) for j, of in jobs.items() if of == space}
    wait_until(
        lambda: not any(left_in_cluster(kube_cluster, space) for space in spaces),
        what="nothing is left in either",
        pause_seconds=0.5,
    )


def test_a_namespace_without_rights_and_one_that_does_not_exist_degrade_alone(
    kube_cluster: Cluster, product: Product
) -> None:
    closed, missing = (product.namespace.replace("jobs-", f"{word}-") for word in ("closed", "missing"))
    waiting = {name: submit(product, name) for name in (closed, missing)}
    for name, job_id in waiting.items():
        # Without rights, the API server does not say whether the namespace exists.
        wait_until(
            functools.partial(_says, product, job_id, "Waiting to be created", f'in the namespace "{name}"'),
            what="it is said why the job waits",
        )
    assert product.wait_for(submit(product, second_of(product)))["state"] == "succeeded"
    for component in ("job-status-processor", "pod-events-processor"):
        said = product.probe(component, "/readyz?verbose")
        assert f"namespace {closed} degraded: " in said
        assert f"namespace {missing} degraded: " in said
        assert f"namespace {second_of(product)} degraded" not in said
        assert product.metric(component, "kjr_namespace_unlisted") == (4 if component.startswith("pod") else 2)
    install_into(kube_cluster, missing, like=product.namespace)
    grant(kube_cluster, closed, like=product.namespace)
    for job_id in waiting.values():
        assert product.wait_for(job_id)["state"] == "succeeded"
    for component in ("job-status-processor", "pod-events-processor"):
        wait_until(functools.partial(_all_well, product, component), what="nothing is degraded any more")


def _says(product: Product, job_id: str, *parts: str) -> bool:
    """Whether its explanation holds all of `parts`: before, it says that the job is next in its queue."""
    explanation = product.job(job_id)["explanation"] or ""
    return all(part in explanation for part in parts)


def _all_well(product: Product, component: str) -> bool:
    return product.metric(component, "kjr_namespace_unlisted") == 0 and "degraded" not in product.probe(
        component, "/readyz"
    )


def test_what_vanished_unseen_is_noticed_in_the_namespaces_that_can_be_listed(
    kube_cluster: Cluster, product: Product
) -> None:
    """Both ways to notice it still work when other namespaces cannot be listed: the list, and the sweep."""
    job_id = submit(product, second_of(product), "10m", retry={"attempts": 1})
    product.wait_for(job_id, "running")
    product.kill("job-status-processor")
    kube_cluster.kubectl("delete", "jobs", "--all", "-n", second_of(product), "--wait=false")
    wait_until(lambda: not left_in_cluster(kube_cluster, second_of(product)), what="it is gone", pause_seconds=0.3)
    product.start("job-status-processor")
    assert product.wait_for(job_id)["reason"] == "JobDeleted"


def test_f74_a_namespace_deleted_under_running_jobs(kube_cluster: Cluster, product: Product) -> None:
    doomed = [submit(product, second_of(product), "10m") for _ in range(5)]
    others = [submit(product, product.namespace, "8s") for _ in range(5)]
    for job_id in (*doomed, *others):
        product.wait_for(job_id, "running")
    kube_cluster.kubectl("delete", "namespace", second_of(product), "--wait=false")
    for job_id in doomed:
        job = product.wait_for(job_id, timeout_seconds=60)
        assert job["state"] == "failed"
        # Its pods may be removed before its Job is: then they are seen to be killed.
        assert job["reason"] in ("JobDeleted", "KilledBySignal", "NamespaceTerminating", "NamespaceNotFound"), job
        assert job["explanation"]
    assert {product.wait_for(job_id)["state"] for job_id in others} == {"succeeded"}
    assert product.wait_for(submit(product, product.namespace))["state"] == "succeeded"
