"""One row per class of failing signals, produced by simulated nodes and the cluster's controllers.

Each must end in time with its reason, cause and rule, be charged to the right budget, and say what happened, where, and what
to do. All rows run at once, in the module's fixture; each test compares one outcome with its row.
"""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Iterator
from typing import Any

import pytest

from testbed import config
from testbed.cluster import Cluster
from tests.cluster.conftest import running_product
from tests.support import provocations, signals
from tests.support.kubernetes import install, install_into
from tests.support.postgres import Server
from tests.support.sightings import Sightings, condition, failed, waiting
from tests.support.signals import Bed, Outcome, Row

log = logging.getLogger(__name__)
pytestmark = [pytest.mark.cluster, pytest.mark.timeout(300)]

IMAGE, CONFIG, REGISTRY, RUNTIME, INFRASTRUCTURE, VOLUME, ADMISSION, SCHEDULING = 2.0, 2.1, 2.2, 2.3, 2.4, 2.5, 2.6, 2.7
"""Graces, all different, so that a signal of the wrong class would be noticed in a debugger, if not by the clock."""
START_SECONDS = 15
PULL = waiting("ErrImagePull", "ImagePullBackOff")
FREE = "a new attempt is free"


def pull(name: str, answer: str, **row: Any) -> Row:
    """A pull that fails with a registry's or runtime's answer."""
    return Row(name=name, signal=PULL, script={"mode": "imagepull", "image-error": answer}, **row)


def waits(name: str, waiting_for: str, message: str, **row: Any) -> Row:
    """A container that waits for a reason."""
    script = {"mode": "waiting", "waiting-reason": waiting_for, "waiting-message": message}
    return Row(name=name, signal=waiting(waiting_for), script=script, **row)


def start_error(name: str, message: str, **row: Any) -> Row:
    """A container that ends without having run."""
    prefix = (
        "failed to create containerd task: failed to create shim task: OCI runtime create failed: runc create failed: "
    )
    return Row(name=name, script={"mode": "start-error", "message": prefix + message}, **row)


def ends(name: str, code: int, *, ended_as: str = "Error", message: str = "", **row: Any) -> Row:
    """A container that ran and ended with this code; the code is unknown when nobody saw the end."""
    script = {"exit-code": str(code), "reason": ended_as, "message": message}
    known = ended_as in ("Error", "OOMKilled")
    return Row(name=name, script=script, exit_code=code if known else None, **row)


def rejected(name: str, pod_reason: str, message: str, **row: Any) -> Row:
    """A pod that the kubelet does not admit."""
    script = {"mode": "reject", "pod-reason": pod_reason, "pod-message": message}
    return Row(name=name, **({"script": script, "reason": "NodeRejected", "cause": "infrastructure"} | row))


def pod_ends(name: str, pod_reason: str, message: str, **row: Any) -> Row:
    """A pod that the kubelet ends while it runs."""
    script = {"run": "200ms", "pod-reason": pod_reason, "pod-message": message}
    return Row(name=name, script=script | row.pop("script", {}), exit_code=137, **row)


def disrupted(name: str, disruption: str, message: str, **row: Any) -> Row:
    """A pod that the cluster ends while it runs, and says so by a condition."""
    script = {"run": "200ms", "disruption": disruption, "pod-message": message}
    return Row(name=name, script=script, cause="infrastructure", exit_code=137, **row)


OWN_NODES = ("taint", "preempt", "gone")


def on_own_nodes(purpose: str) -> dict[str, Any]:
    """One of two nodes holds this job and no other; the next attempt finds room on the other."""
    return {
        "node_selector": {"kjr.test/own": purpose},
        "tolerations": [{"key": "kjr.test/own", "operator": "Exists"}],
        "resources": {"cpu": provocations.CPU},
    }


ROWS = (
    # --- images ---
    pull(
        "tag missing",
        "rpc error: code = NotFound desc = failed to resolve reference: registry.example.com/tool:1: not found",
        reason="ImageNotFound",
        cause="permanent",
        rule="pull-not-found",
        says=("container main", "does not exist", "registry.example.com/tool:1", "Check the name and the tag"),
        grace_seconds=IMAGE,
    ),
    pull(
        "unauthorized",
        "pulling from host registry.example.com failed with status code [manifests 1]: 401 Unauthorized",
        reason="ImageUnauthorized",
        cause="permanent",
        rule="pull-unauthorized",
        says=("container main", "401 Unauthorized", "pull secret"),
        grace_seconds=IMAGE,
    ),
    pull(
        "wrong platform",
        "no match for platform in manifest: not found",
        reason="ImagePlatform",
        cause="permanent",
        rule="pull-platform",
        says=("container main", "node node-", "Build it for that platform"),
        grace_seconds=IMAGE,
    ),
    pull(
        "registry down for good",
        "unexpected status from HEAD request to https://registry.example.com/v2/: 503 Service Unavailable",
        reason="RegistryUnavailable",
        cause="infrastructure",
        rule="pull-registry-down",
        says=("container main", "503 Service Unavailable"),
        grace_seconds=REGISTRY,
    ),
    pull(
        "rate limited for good",
        "429 Too Many Requests - Server message: toomanyrequests: You have reached your pull rate limit",
        reason="RegistryRateLimited",
        cause="infrastructure",
        rule="pull-rate-limited",
        says=("limit on image pulls", "pull rate limit", "mirror"),
        grace_seconds=REGISTRY,
    ),
    pull(
        "registry quota",
        "402 Payment Required: the data transfer quota of your plan is exceeded",
        reason="RegistryQuota",
        cause="infrastructure",
        rule="pull-registry-quota",
        says=("container main", "402 Payment Required", "Raise that quota"),
        grace_seconds=REGISTRY,
    ),
    pull(
        "node disk full",
        "failed to extract layer: write /var/lib/containerd/x: no space left on device",
        reason="NodeDiskFull",
        cause="infrastructure",
        rule="pull-disk-full",
        says=("disk of node node-", "container main", "Another node"),
        grace_seconds=INFRASTRUCTURE,
    ),
    waits(
        "image reference invalid",
        "InvalidImageName",
        'couldn\'t parse image name "Team/Tool": invalid reference format: repository name must be lowercase',
        reason="ImageReferenceInvalid",
        cause="permanent",
        rule="image-name-invalid",
        says=("container main", "must be lowercase", "Correct it"),
    ),
    waits(
        "never pull",
        "ErrImageNeverPull",
        'Container image "registry.example.com/tool:1" is not present with pull policy of Never',
        reason="ImageNotFound",
        cause="permanent",
        rule="image-never-pulled",
        says=("container main", "Node node-", "Never"),
        grace_seconds=IMAGE,
    ),
    # --- configuration ---
    waits(
        "secret missing",
        "CreateContainerConfigError",
        'secret "token" not found',
        reason="ConfigMissing",
        cause="permanent",
        rule="config-missing",
        says=("Container main", 'secret "token" not found', "Create it"),
        grace_seconds=CONFIG,
    ),
    waits(
        "key missing",
        "CreateContainerConfigError",
        "couldn't find key k in Secret jobs/token",
        reason="ConfigMissing",
        cause="permanent",
        rule="config-missing",
        says=("Container main", "key k", "correct the name"),
        grace_seconds=CONFIG,
    ),
    waits(
        "runs as root",
        "CreateContainerConfigError",
        'container has runAsNonRoot and image will run as root (pod: "p_ns(1)", container: main)',
        reason="SecurityPolicy",
        cause="permanent",
        rule="runs-as-root",
        says=("Container main", "run as root", "numeric user"),
    ),
    waits(
        "secret cache late for good",
        "CreateContainerConfigError",
        "failed to sync secret cache: timed out waiting for the condition",
        reason="RuntimeError",
        cause="infrastructure",
        rule="config-cache-late",
        says=("Node node-", "container main", "retries by itself"),
        grace_seconds=INFRASTRUCTURE,
    ),
    Row(
        name="init container's image invalid",
        signal=waiting("InvalidImageName"),
        script={
            "mode": "waiting",
            "init-command": "true",
            "waiting-in": "init",
            "waiting-reason": "InvalidImageName",
            "waiting-message": "invalid reference format",
        },
        reason="ImageReferenceInvalid",
        cause="permanent",
        rule="image-name-invalid",
        says=("container setup", "invalid reference format"),
    ),
    # --- containers that cannot start ---
    start_error(
        "command missing",
        'unable to start container process: exec: "/no/such": stat /no/such: no such file or directory: unknown',
        reason="CommandNotFound",
        cause="permanent",
        rule="start-command-not-found",
        says=("container main", "/no/such", "Check its spelling"),
    ),
    start_error(
        "command not executable",
        'unable to start container process: exec: "/data.txt": permission denied: unknown',
        reason="CommandNotExecutable",
        cause="permanent",
        rule="start-command-not-executable",
        says=("container main", "/data.txt", "chmod +x"),
    ),
    start_error(
        "exec format, from the runtime",
        "unable to start container process: exec /tool: exec format error: unknown",
        reason="WrongArchitecture",
        cause="permanent",
        rule="start-architecture",
        says=("container main", "exec format error", "CPU type of node node-"),
    ),
    start_error(
        "runtime broken",
        "unable to apply cgroup configuration: failed to write 7: write /sys/fs/cgroup/pids/cgroup.procs: no such process",
        reason="RuntimeError",
        cause="infrastructure",
        rule="start-cgroup",
        says=("node node-", "container main", FREE),
    ),
    # --- containers that ended ---
    ends(
        "exit 3",
        3,
        reason="ApplicationExit",
        cause="application",
        rule="command-exit",
        says=("Container main exited with code 3", "bad input"),
        message="bad input",
    ),
    ends(
        "exit 127",
        127,
        reason="ApplicationExit",
        cause="application",
        rule="command-exit-127",
        says=("Container main", "127", "log"),
    ),
    ends(
        "segmentation fault",
        139,
        reason="KilledBySignal",
        cause="application",
        rule="killed-by-signal",
        says=("Container main", "SIGSEGV", "139"),
    ),
    ends(
        "out of memory",
        137,
        reason="OutOfMemory",
        cause="application",
        rule="oom-killed",
        says=("Container main", "more memory than its limit", "Raise resources.memory"),
        ended_as="OOMKilled",
    ),
    ends(
        "exec format, from the loader",
        1,
        reason="WrongArchitecture",
        cause="permanent",
        rule="loader-architecture",
        says=("container main", "exec format error", "CPU type"),
        message="exec /tool: exec format error",
    ),
    ends(
        "container lost",
        137,
        reason="NodeLost",
        cause="infrastructure",
        rule="container-lost",
        says=("Node node-", "container main", FREE),
        message="The container could not be located when the pod was terminated",
        ended_as="ContainerStatusUnknown",
    ),
    ends(
        "container unknown after a restart of the node",
        255,
        reason="NodeLost",
        cause="infrastructure",
        rule="container-unknown",
        says=("node node-", "container main", FREE),
        ended_as="Unknown",
    ),
    Row(
        name="init container failed",
        reason="OtherContainerFailed",
        cause="infrastructure",
        rule=None,
        says=("Container setup exited with code 4", "not the job's own container", "no such host"),
        script={"mode": "init-error", "init-command": "exit 4", "exit-code": "4", "message": "no such host: db"},
    ),
    # --- pods that the kubelet rejects or ends ---
    rejected(
        "out of cpu",
        "OutOfcpu",
        "Pod was rejected: Node didn't have enough resource: cpu, requested: 2000, used: 7500, capacity: 8000",
        rule="node-out-of-resource",
        says=("Node node-", "OutOfcpu", FREE),
    ),
    rejected(
        "device race",
        "UnexpectedAdmissionError",
        "Pod was rejected: Allocate failed due to requested number of devices unavailable, which is unexpected",
        rule="node-rejected",
        says=("Node node-", "UnexpectedAdmissionError", FREE),
    ),
    rejected(
        "node affinity",
        "NodeAffinity",
        "Pod was rejected: Predicate NodeAffinity failed: node(s) didn't match Pod's node affinity/selector",
        rule="node-rejected",
        says=("Node node-", "NodeAffinity", FREE),
    ),
    rejected(
        "topology",
        "TopologyAffinityError",
        "Pod was rejected: Resources cannot be allocated with Topology locality",
        rule="node-rejected",
        says=("Node node-", "TopologyAffinityError", FREE),
    ),
    rejected(
        "node shuts down already",
        "NodeShutdown",
        "Pod was rejected as the node is shutting down.",
        reason="NodeShutdown",
        rule="node-shutdown",
        says=("Node node-", "shut down", FREE),
    ),
    rejected(
        "sysctl forbidden",
        "SysctlForbidden",
        'Pod was rejected: forbidden sysctl: "kernel.msgmax" not allowlisted',
        reason="SecurityPolicy",
        cause="permanent",
        rule="sysctl-forbidden",
        says=("Node node-", "kernel.msgmax", "Allow it"),
    ),
    rejected(
        "critical pod",
        "Preempting",
        "Preempted in order to admit critical pod",
        reason="Preempted",
        rule="critical-pod",
        says=("node node-", "critical", FREE),
    ),
    pod_ends(
        "ephemeral storage over its limit",
        "Evicted",
        "Pod ephemeral local storage usage exceeds the total limit of containers 10Mi.",
        script={"disruption": "TerminationByKubelet"},
        reason="EphemeralStorageExceeded",
        cause="application",
        rule="storage-limit",
        says=("node node-", "10Mi", "Raise the limit"),
    ),
    pod_ends(
        "node pressure",
        "Evicted",
        "The node was low on resource: memory. Threshold quantity: 100Mi, available: 80Mi.",
        script={"disruption": "TerminationByKubelet"},
        reason="NodePressureEvicted",
        cause="infrastructure",
        rule="node-pressure",
        says=("Node node-", "low on", FREE),
    ),
    pod_ends(
        "node shuts down",
        "Terminated",
        "Pod was terminated in response to imminent node shutdown.",
        script={"disruption": "TerminationByKubelet"},
        reason="NodeShutdown",
        cause="infrastructure",
        rule="node-shutdown",
        says=("Node node-", "shut down", FREE),
    ),
    pod_ends(
        "pod deadline",
        "DeadlineExceeded",
        "Pod was active on the node longer than the specified deadline",
        reason="DeadlineExceeded",
        cause="application",
        rule="pod-deadline",
        says=("longer than", "Raise the run timeout"),
    ),
    disrupted(
        "shutdown, from a condition",
        "TerminationByKubelet",
        "Pod was terminated in response to imminent node shutdown.",
        reason="NodeShutdown",
        rule="disruption-shutdown",
        says=("Node node-", FREE),
    ),
    disrupted(
        "some other controller",
        "DescheduledByPolicy",
        "evicted by the descheduler",
        reason="Disrupted",
        rule="disruption-other",
        says=("node node-", "DescheduledByPolicy", FREE),
    ),
    # --- what the cluster's own controllers do ---
    Row(
        name="evicted by the API",
        provoke=provocations.evict,
        signal=condition("DisruptionTarget"),
        reason="Disrupted",
        cause="infrastructure",
        rule="disruption",
        says=("node node-", "Eviction API", FREE),
        exit_code=143,
    ),
    Row(
        name="taint",
        provoke=provocations.taint,
        spec=on_own_nodes("taint"),
        signal=condition("DisruptionTarget"),
        reason="Disrupted",
        cause="infrastructure",
        rule="disruption",
        says=("node own-taint-", "Taint", FREE),
        exit_code=143,
    ),
    Row(
        name="preempted",
        provoke=provocations.preempt,
        spec=on_own_nodes("preempt"),
        signal=condition("DisruptionTarget"),
        reason="Preempted",
        cause="infrastructure",
        rule="disruption-preempted",
        says=("node own-preempt-", "higher priority", FREE),
        exit_code=143,
    ),
    Row(
        name="node deleted",
        provoke=provocations.delete_node,
        spec=on_own_nodes("gone"),
        signal=condition("DisruptionTarget"),
        reason="NodeLost",
        cause="infrastructure",
        rule="disruption-node-gone",
        says=("Node own-gone-", "no longer exists", FREE),
    ),
    Row(
        name="pod deleted by somebody",
        provoke=provocations.delete_pod,
        signal=failed,
        reason="PodDeleted",
        cause="infrastructure",
        rule=None,
        says=("Somebody deleted the pod",),
        exit_code=143,
    ),
    Row(
        name="job deadline",
        provoke=provocations.job_deadline,
        signal=failed,
        reason="DeadlineExceeded",
        cause="application",
        rule="job-deadline",
        says=("longer than its deadline", "Raise the run timeout"),
    ),
    # --- a job that cannot have a pod, or whose pod finds no node ---
    Row(
        name="pods quota of none",
        namespace="quota",
        event=("FailedCreate", "exceeded quota"),
        reason="QuotaExceeded",
        cause="permanent",
        rule="quota-zero",
        says=("quota", "pods=0", "raised"),
        grace_seconds=INFRASTRUCTURE,
    ),
    Row(
        name="pod security",
        namespace="restricted",
        event=("FailedCreate", "violates PodSecurity"),
        reason="AdmissionDenied",
        cause="permanent",
        rule="pod-security",
        says=("restricted", "runAsNonRoot", "namespace"),
    ),
    Row(
        name="service account missing",
        spec={"service_account": "nobody"},
        event=("FailedCreate", "serviceaccount"),
        reason="ConfigMissing",
        cause="permanent",
        rule="service-account-missing",
        says=('"nobody" not found', "Create it"),
        grace_seconds=CONFIG,
    ),
    Row(
        name="claim missing",
        spec={"volumes": [{"name": "data", "mount_path": "/data", "persistent_volume_claim": "no-such-claim"}]},
        signal=condition("PodScheduled", "False"),
        reason="VolumeMissing",
        cause="permanent",
        rule="claim-missing",
        says=("no-such-claim", "Create the claim"),
        grace_seconds=VOLUME,
    ),
    Row(
        name="no node matches",
        spec={"node_selector": {"disk": "gold"}},
        signal=condition("PodScheduled", "False"),
        reason="UnschedulableConstraints",
        cause="permanent",
        rule="no-node-matches",
        says=("No node matches", "node selector"),
        grace_seconds=SCHEDULING,
    ),
    Row(
        name="no room",
        # The cluster makes the pods of all rows at once, so it needs some seconds until it says that there is no room.
        spec={"resources": {"cpu": "4000"}, "timeouts": {"queue_seconds": START_SECONDS, "start_seconds": 6}},
        signal=None,
        reason="QueueTimeout",
        cause="permanent",
        rule="no-room",
        says=(f"{START_SECONDS} s", "No node has room", "Insufficient cpu"),
        grace_seconds=START_SECONDS,
    ),
    # --- unknown signals are not fatal before the timeout ---
    dataclasses.replace(
        waits(
            "unknown reason",
            "FluxCapacitorEmpty",
            "1.21 gigawatts are needed",
            reason="StartTimeout",
            cause="permanent",
            rule=None,
            says=(f"{START_SECONDS} s", "FluxCapacitorEmpty", "1.21 gigawatts"),
            grace_seconds=START_SECONDS,
        ),
        spec={"timeouts": {"start_seconds": START_SECONDS}},
        signal=None,
    ),
    Row(
        name="creating for ever",
        script={"mode": "stuck"},
        spec={"timeouts": {"start_seconds": START_SECONDS}},
        signal=None,
        reason="StartTimeout",
        cause="permanent",
        rule=None,
        says=(f"{START_SECONDS} s", "ContainerCreating"),
        grace_seconds=START_SECONDS,
    ),
)


@pytest.fixture(scope="module")
def bed(kube_cluster: Cluster, pg_server: Server) -> Iterator[Bed]:
    """The product with short graces, in a namespace whose pods are scripted, and in two that refuse pods."""
    namespace, configs = install(kube_cluster)
    others = {
        name: install_into(kube_cluster, f"{namespace}-{name}", like=namespace) for name in ("quota", "restricted")
    }
    kube_cluster.kubectl("label", "namespace", namespace, "kjr.test/mutate=1")
    kube_cluster.kubectl("label", "namespace", others["restricted"], "pod-security.kubernetes.io/enforce=restricted")
    kube_cluster.kubectl("create", "quota", "none", "-n", others["quota"], "--hard=pods=0")
    kube_cluster.apply(config.MUTATIONS)
    for purpose in OWN_NODES:
        for number in range(2):
            taints = [{"key": "kjr.test/own", "value": purpose, "effect": "NoSchedule"}]
            kube_cluster.add_node(
                f"own-{purpose}-{number}-{namespace}",
                cpu="2",
                labels={"kjr.test/own": purpose},
                taints=taints,
                wait=False,
            )
    running = running_product(
        kube_cluster,
        pg_server,
        installed=(namespace, configs),
        namespaces=",".join([namespace, *others.values()]),
        image_grace_seconds=IMAGE,
        config_grace_seconds=CONFIG,
        registry_grace_seconds=REGISTRY,
        runtime_grace_seconds=RUNTIME,
        infrastructure_grace_seconds=INFRASTRUCTURE,
        volume_grace_seconds=VOLUME,
        admission_grace_seconds=ADMISSION,
        scheduling_grace_seconds=SCHEDULING,
        sweep_seconds=0.2,
        cleanup_delay_seconds=2,
    )
    with running as product, Sightings(kube_cluster) as sightings:
        yield Bed(cluster=kube_cluster, product=product, sightings=sightings, namespace=namespace)


@pytest.fixture(scope="module")
def outcomes(bed: Bed) -> dict[str, Outcome]:
    """What became of all rows, which ran at once; a deleted node's pods are collected after most of a minute."""
    rows = [
        dataclasses.replace(row, namespace=f"{bed.namespace}-{row.namespace}") if row.namespace else row for row in ROWS
    ]
    return signals.run(bed, rows, base={}, timeout_seconds=120)


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_a_signal_class(row: Row, outcomes: dict[str, Outcome]) -> None:
    log.info("%s: verdict %.2f s after the signal, ours %.2f s", row.name, *signals.check(row, outcomes[row.name]))
