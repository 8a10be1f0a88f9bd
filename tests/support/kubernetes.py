"""Helpers for tests of the Kubernetes adapter: a cluster on a fake API server, objects, and the shipped RBAC."""

from __future__ import annotations

import asyncio
import json
import secrets
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from uuid import UUID

import yaml

from kube_job_runner.adapters.kubernetes.client import Client
from kube_job_runner.adapters.kubernetes.cluster import KubernetesCluster
from kube_job_runner.adapters.kubernetes.credentials import ConfiguredSource, CredentialSource
from kube_job_runner.adapters.kubernetes.rest_config import ConnectionConfig, UserConfig
from kube_job_runner.adapters.kubernetes.watched_namespace import Tuning
from kube_job_runner.domain import names
from kube_job_runner.domain.spec.model import JobSpec
from kube_job_runner.ports import ClusterJob, Listed, Relisting, SeenJob, SeenPod, WatchEvent
from testbed.cluster import Cluster
from tests.support.product import WATCHING

RBAC_FOLDER = Path(__file__).parents[2] / "deploy" / "kubernetes"
JOB_ID = UUID("01a7f1de-0000-7000-8000-00000000002a")


class Sleeps:
    """Stands in for asyncio.sleep: records the delays and lets the loop turn."""

    def __init__(self) -> None:
        self.delays: list[float] = []

    async def __call__(self, seconds: float) -> None:
        self.delays.append(seconds)
        await asyncio.sleep(0)


def make_cluster(
    url: str,
    *,
    source: CredentialSource | None = None,
    config: ConnectionConfig | None = None,
    namespaces: tuple[str, ...] = ("default",),
    sleep: Any = asyncio.sleep,
    request_seconds: float = 5.0,
    concurrency: int = 8,
    installation: str = "",
    **tuning: Any,
) -> KubernetesCluster:
    """Return a cluster for the API server at `url`, with times that suit a test."""
    config = config or ConnectionConfig(server=url, user=UserConfig(token="t"))
    client = Client(
        config,
        source or ConfiguredSource(config.user, monotonic=time.monotonic),
        concurrency=concurrency,
        monotonic=time.monotonic,
        request_seconds=request_seconds,
    )
    times: dict[str, Any] = {"idle_seconds": 30.0, "relist_seconds": 3600.0, "first_delay_seconds": 0.01, **tuning}
    return KubernetesCluster(
        client,
        instance="test",
        installation=installation,
        namespaces=namespaces,
        tuning=Tuning(**times),
        sleep=sleep,
    )


def cluster_job(number: int = 1, *, attempt: int = 1, namespace: str = "default", **spec: Any) -> ClusterJob:
    """Return a cluster job; `number` distinguishes jobs."""
    job_id = UUID(int=JOB_ID.int + number)
    return ClusterJob(
        job_id=job_id,
        attempt=attempt,
        namespace=namespace,
        cluster_name=names.cluster_job_name("work", job_id, attempt),
        queue="default",
        spec=JobSpec(**{"image": "busybox:1", **spec}),
        spec_hash="0123456789abcdef",
    )


def labels(number: int = 1, *, attempt: int = 1, instance: str = "test") -> dict[str, str]:
    """Return the labels of our objects."""
    return {
        names.MANAGED_BY_LABEL: names.MANAGED_BY,
        names.INSTANCE_LABEL: instance,
        names.JOB_ID_LABEL: str(UUID(int=JOB_ID.int + number)),
        names.ATTEMPT_LABEL: str(attempt),
    }


def pod(number: int = 1, *, phase: str = "Pending", namespace: str = "default", **metadata: Any) -> dict[str, Any]:
    """Return a Pod of ours as an API object."""
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": f"pod-{number}", "namespace": namespace, "labels": labels(number), **metadata},
        "status": {"phase": phase},
    }


async def until_listed(events: AsyncIterator[WatchEvent], *, namespaces: int = 1) -> list[SeenJob | SeenPod]:
    """Return the events of one list: from `Relisting` to the `Listed` of the last namespace."""
    seen: list[SeenJob | SeenPod] = []
    async with asyncio.timeout(20):
        while not isinstance(event := await anext(events), Relisting):
            raise AssertionError(f"expected Relisting, got {event}")
        while namespaces:
            event = await anext(events)
            if isinstance(event, Listed):
                namespaces -= 1
                continue
            assert isinstance(event, (SeenJob, SeenPod)), event
            seen.append(event)
    return seen


async def take(events: AsyncIterator[WatchEvent], count: int) -> list[Any]:
    """Return the next events."""
    async with asyncio.timeout(20):
        return [await anext(events) for _ in range(count)]


async def eventually(condition: Any, *, seconds: float = 10.0) -> None:
    """Wait until the condition holds."""
    async with asyncio.timeout(seconds):
        while not condition():  # noqa: ASYNC110  the condition is another party's state
            await asyncio.sleep(0.005)


def account(component: str) -> str:
    """Return the name of a component's ServiceAccount."""
    return f"kube-job-runner-{component}"


def rbac(*, accounts_namespace: str = "kube-job-runner", jobs_namespace: str = "default") -> list[dict[str, Any]]:
    """Return the shipped accounts and roles for other namespaces than those they are rendered for.

    They come from the chart: a test keeps the file that is read here equal to what the chart renders.
    """
    mapping = {"kube-job-runner": accounts_namespace, "default": jobs_namespace}
    texts = [(RBAC_FOLDER / name).read_text() for name in ("namespace.yaml", "rbac.yaml")]
    documents = [document for text in texts for document in yaml.safe_load_all(text) if document]
    for document in documents:
        metadata = document["metadata"]
        if document["kind"] == "Namespace":
            metadata["name"] = mapping[metadata["name"]]
            continue
        metadata["namespace"] = mapping[metadata["namespace"]]
        for subject in document.get("subjects", ()):
            subject["namespace"] = mapping[subject["namespace"]]
    return documents


def install(cluster: Cluster) -> tuple[str, dict[str, Path]]:
    """Make a namespace for jobs and one for the accounts, apply the shipped RBAC; return the first and the kubeconfigs."""
    suffix = secrets.token_hex(3)
    jobs, accounts = f"jobs-{suffix}", f"kjr-{suffix}"
    cluster.create_namespace(jobs)
    documents = rbac(accounts_namespace=accounts, jobs_namespace=jobs)
    cluster.apply(json.dumps({"apiVersion": "v1", "kind": "List", "items": documents}))
    configs = {
        name: cluster.service_account_kubeconfig(accounts, account(name), duration_seconds=7200) for name in WATCHING
    }
    return jobs, configs


def install_into(cluster: Cluster, namespace: str, *, like: str) -> str:
    """Make another namespace for jobs of the accounts that `install` made for the namespace `like`; return it."""
    cluster.create_namespace(namespace)
    grant(cluster, namespace, like=like)
    return namespace


def grant(cluster: Cluster, namespace: str, *, like: str) -> None:
    """Give the accounts that `install` made for the namespace `like` their rights in another."""
    accounts = like.replace("jobs-", "kjr-", 1)
    documents = [
        document
        for document in rbac(accounts_namespace=accounts, jobs_namespace=namespace)
        if document["metadata"].get("namespace") == namespace
    ]
    cluster.apply(json.dumps({"apiVersion": "v1", "kind": "List", "items": documents}))
