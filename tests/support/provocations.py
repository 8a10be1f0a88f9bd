"""What others do to a running pod: the cluster's controllers, its operators, other people's pods."""

from __future__ import annotations

import secrets

from testbed import manifests
from tests.support.signals import MERGE_PATCH, Bed

CPU = "1500m"
"""What a job must ask for, on a node of two cores, to be in the way of another."""


def evict(bed: Bed, job_id: str) -> None:
    """Evict the pod, as a drain of its node does."""
    name = bed.pod_name(job_id)
    path = f"/api/v1/namespaces/{bed.namespace}/pods/{name}/eviction"
    body = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": name, "namespace": bed.namespace}}
    bed.cluster.api()("POST", path, body).require(201)


def node_of(bed: Bed, job_id: str) -> str:
    """Return the node of a job's first pod."""
    return str(bed.sightings.pods(job_id)[-1].object["spec"]["nodeName"])


def taint(bed: Bed, job_id: str) -> None:
    """Taint the node of the pod, so that no pod may run there."""
    taints = [{"key": "kjr.test/drain", "value": "1", "effect": "NoExecute"}]
    path = f"/api/v1/nodes/{node_of(bed, job_id)}"
    bed.cluster.api()("PATCH", path, {"spec": {"taints": taints}}, content_type=MERGE_PATCH).require(200)


def preempt(bed: Bed, job_id: str) -> None:
    """Start a pod of higher priority on the same node, which needs the room of the first."""
    name = f"urgent-{secrets.token_hex(3)}"
    priority = {
        "apiVersion": "scheduling.k8s.io/v1",
        "kind": "PriorityClass",
        "metadata": {"name": name},
        "value": 1000,
    }
    bed.cluster.api()("POST", "/apis/scheduling.k8s.io/v1/priorityclasses", priority).require(201)
    pod = {
        "nodeSelector": {"kubernetes.io/hostname": node_of(bed, job_id)},
        "tolerations": [{"operator": "Exists"}],
        "priorityClassName": name,
    }
    container = {"resources": {"requests": {"cpu": CPU}}}
    urgent = manifests.job(name, script={"run": "1h"}, pod=pod, container=container)
    bed.cluster.api()("POST", f"/apis/batch/v1/namespaces/{bed.namespace}/jobs", urgent).require(201)


def delete_node(bed: Bed, job_id: str) -> None:
    """Remove the pod's node from the cluster."""
    bed.cluster.delete_node(node_of(bed, job_id))


def delete_pod(bed: Bed, job_id: str) -> None:
    """Delete the pod, as a person might."""
    bed.cluster.api()("DELETE", f"/api/v1/namespaces/{bed.namespace}/pods/{bed.pod_name(job_id)}").require(200)


def job_deadline(bed: Bed, job_id: str) -> None:
    """Set a deadline on its Job that has already passed, as somebody else might."""
    bed.patch(f"jobs/{bed.cluster_name(job_id)}", {"spec": {"activeDeadlineSeconds": 1}})


def finish(bed: Bed, job_id: str, attempt: int) -> None:
    """Let a pod on the real node end whose command is `UNTIL_TOLD`."""
    pod = bed.pod_name(job_id, attempt)
    bed.cluster.kubectl("exec", "-n", bed.namespace, pod, "-c", "main", "--", "touch", "/tmp/go")


UNTIL_TOLD = ["sh", "-c", "trap 'exit 143' TERM; until [ -e /tmp/go ]; do sleep 0.1; done"]
