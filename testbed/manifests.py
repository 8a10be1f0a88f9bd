"""The few API objects that the test bed itself creates, and a small Job for tests to start from."""

from collections.abc import Mapping, Sequence
from typing import Any

FAKE_NODE_ANNOTATION = "kwok.x-k8s.io/node"
REAL_NODE_KEY = "kjr.test/real"
ANNOTATION_PREFIX = "kjr.test/"

# An empty nodeInfo is refused, empty fields are not.
_NODE_INFO_FIELDS = (
    "machineID",
    "systemUUID",
    "bootID",
    "kernelVersion",
    "osImage",
    "containerRuntimeVersion",
    "kubeletVersion",
    "kubeProxyVersion",
    "operatingSystem",
    "architecture",
)


def namespace(name: str, labels: Mapping[str, str]) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": dict(labels)}}


def token_request(duration_seconds: int) -> dict[str, Any]:
    return {
        "apiVersion": "authentication.k8s.io/v1",
        "kind": "TokenRequest",
        "spec": {"expirationSeconds": duration_seconds},
    }


def node(
    name: str,
    *,
    cpu: str = "1000",
    memory: str = "8Ti",
    pods: str = "5000",
    labels: Mapping[str, str] | None = None,
    taints: Sequence[Mapping[str, str]] = (),
    kubelet_port: int | None = None,
) -> dict[str, Any]:
    """A node that KWOK plays. Few and huge by default: every node costs the API server a lease renewal."""
    size = {"cpu": cpu, "memory": memory, "pods": pods}
    reached: dict[str, Any] = {}
    if kubelet_port is not None:
        reached["addresses"] = [{"type": "InternalIP", "address": "127.0.0.1"}]
        reached["daemonEndpoints"] = {"kubeletEndpoint": {"Port": kubelet_port}}
    own_labels = {"type": "kwok", "kubernetes.io/hostname": name}
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {
            "name": name,
            "labels": own_labels | dict(labels or {}),
            "annotations": {FAKE_NODE_ANNOTATION: "fake"},
        },
        "spec": {"taints": [dict(taint) for taint in taints]},
        "status": {
            "allocatable": size,
            "capacity": size,
            "nodeInfo": dict.fromkeys(_NODE_INFO_FIELDS, ""),
            **reached,
        },
    }


def is_usable(found: Mapping[str, Any]) -> bool:
    """Whether pods can run on a node: it is Ready, and the taints of a fresh or lost node are lifted."""
    conditions = found["status"].get("conditions", [])
    ready = any(condition["type"] == "Ready" and condition["status"] == "True" for condition in conditions)
    keys = [taint["key"] for taint in found["spec"].get("taints", [])]
    return ready and not any(key.startswith("node.kubernetes.io/") for key in keys)


def job(
    name: str,
    *,
    script: Mapping[str, str] | None = None,
    container: Mapping[str, Any] | None = None,
    pod: Mapping[str, Any] | None = None,
    **spec: Any,
) -> dict[str, Any]:
    """A one-pod Job. `script` holds KWOK annotations without their prefix: `{"run": "2s", "exit-code": "3"}`.

    `container` and `pod` are merged into the pod spec, and other keywords into the Job spec.
    """
    annotations = {ANNOTATION_PREFIX + key: value for key, value in (script or {}).items()}
    main = {"name": "main", "image": "localhost/busybox:1", "command": ["true"]} | dict(container or {})
    pod_spec = {"restartPolicy": "Never", "containers": [main]} | dict(pod or {})
    template = {"metadata": {"annotations": annotations}, "spec": pod_spec}
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": name},
        "spec": {"backoffLimit": 0, "template": template} | spec,
    }


def on_real_node(pod: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """What a pod spec needs to run on the real node: its own network would need more than loopback."""
    return {
        "hostNetwork": True,
        "nodeSelector": {REAL_NODE_KEY: "1"},
        "tolerations": [{"key": REAL_NODE_KEY, "operator": "Exists"}],
        "terminationGracePeriodSeconds": 5,
    } | dict(pod or {})
