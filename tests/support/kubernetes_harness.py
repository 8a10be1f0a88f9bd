"""The harness of `tests/support/clusters.py` for the Kubernetes adapter on the test bed, whose nodes follow annotations."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from kube_job_runner.domain import names
from kube_job_runner.domain.facts import JobFacts
from kube_job_runner.domain.spec.model import JobSpec
from kube_job_runner.ports import Cluster, ClusterJob
from testbed import cluster as testbed_cluster
from tests.support.clusters import T, cluster_job, poll

MERGE_PATCH = "application/merge-patch+json"


class KubernetesHarness:
    """Jobs follow the stages of `testbed/kwok.yaml`; a running one is released by shortening its run time."""

    installation = "installation-1"

    def __init__(self, cluster: Cluster, bed: testbed_cluster.Cluster, namespace: str) -> None:
        self.cluster = cluster
        self.namespace = namespace
        self._api = bed.api()

    def annotated(self, **annotations: str) -> ClusterJob:
        """A job with annotations `kjr.test/...`; underscores stand for hyphens."""
        given = {f"kjr.test/{key.replace('_', '-')}": value for key, value in annotations.items()}
        spec = JobSpec(image="example/image:1", command=("work",), annotations=given)
        return cluster_job(spec, namespace=self.namespace)

    def succeeds(self) -> ClusterJob:
        return self.annotated(run="200ms")

    def exits(self, code: int) -> ClusterJob:
        return self.annotated(run="200ms", exit_code=str(code))

    def cannot_start(self) -> ClusterJob:
        return self.annotated(mode="imagepull")

    def image_missing(self) -> ClusterJob:
        return self.annotated(mode="imagepull")

    def runs(self) -> ClusterJob:
        return self.annotated(run="1h")

    def never_stops(self) -> ClusterJob:
        return self.annotated(run="1h", grace="1h")

    def prints(self, output: bytes) -> ClusterJob:
        raise NotImplementedError("simulated nodes print nothing")

    async def release(self, job: ClusterJob, facts: JobFacts) -> None:
        await asyncio.to_thread(self._shorten, facts.uid, str(job.job_id))

    async def plant(self, job: ClusterJob) -> None:
        await asyncio.to_thread(self._plant, job.cluster_name)

    async def until(self, check: Callable[[], T | None]) -> T:
        return await poll(check)

    def _pods(self, job_uid: str, job_id: str) -> list[dict[str, Any]]:
        path = f"/api/v1/namespaces/{self.namespace}/pods?labelSelector={names.JOB_ID_LABEL}%3D{job_id}"
        found: dict[str, Any] = self._api("GET", path).require(200)
        return [
            pod
            for pod in found["items"]
            if any(owner["uid"] == job_uid for owner in pod["metadata"].get("ownerReferences", ()))
        ]

    def _shorten(self, job_uid: str, job_id: str) -> None:
        while not (pods := self._pods(job_uid, job_id)):  # the controller has yet to create it
            pass
        path = f"/api/v1/namespaces/{self.namespace}/pods/{pods[0]['metadata']['name']}"
        body = {"metadata": {"annotations": {"kjr.test/run": "0s"}}}
        self._api("PATCH", path, body, content_type=MERGE_PATCH).require(200)

    def _plant(self, name: str) -> None:
        container = {"name": "stranger", "image": "example/image:1"}
        body = {
            "apiVersion": "batch/v1",
            "kind": "Job",
            "metadata": {"name": name},
            "spec": {
                "suspend": True,
                "template": {"spec": {"restartPolicy": "Never", "containers": [container]}},
            },
        }
        self._api("POST", f"/apis/batch/v1/namespaces/{self.namespace}/jobs", body).require(201)
