"""Categories of nodes, storage and the scheduler."""

import functools

from kube_job_runner.domain.failures.categories.category import category

_FREE = "Nothing, if it is rare: a new attempt is free and avoids the node where possible."
_user = functools.partial(category, "user")
_cluster = functools.partial(category, "cluster")
_external = functools.partial(category, "external")

CATEGORIES = (
    _cluster(
        "runtime_error",
        "The container runtime of the node failed",
        "The runtime could not unpack, create or start the container because of its own faults: timeouts, leftovers, "
        "devices, cgroups.",
        _FREE,
        "If it is always the same node: check its runtime and disk, or take it out of service.",
        verdict="retry_free",
        settings="KJR_INFRASTRUCTURE_GRACE_SECONDS",
    ),
    _cluster(
        "sandbox_failed",
        "The network or the sandbox of the pod could not be set up",
        "Before it starts a container, the node creates a sandbox with a network address. "
        "That failed, often because no address is free or the network plugin is down.",
        _FREE,
        "Check the network plugin, the free addresses, and the pause image of the node.",
        verdict="retry_free",
        settings="KJR_INFRASTRUCTURE_GRACE_SECONDS",
    ),
    _cluster(
        "node_disk_full",
        "The disk of the node is full",
        "The node had no space to store the image or the container.",
        _FREE,
        "Give the nodes larger disks, or lower the kubelet's thresholds of image garbage collection.",
        verdict="retry_free",
        settings="KJR_INFRASTRUCTURE_GRACE_SECONDS",
    ),
    _cluster(
        "node_rejected",
        "The node rejected the pod",
        "The scheduler chose a node, and its kubelet rejected the pod: no room left, a missing device, changed "
        "labels. No container of the job ran.",
        _FREE,
        "If every node rejects it: the job asks for a combination that no node can give.",
        verdict="retry_free",
    ),
    _cluster(
        "node_pressure_evicted",
        "The node was low on a resource and evicted the pod",
        "Memory, disk or process ids of the node ran low, and the kubelet ended pods to protect the node.",
        _FREE,
        "Ask for what the job really uses (`resources`): pods far above their requests are evicted first.",
        verdict="retry_free",
    ),
    _cluster(
        "node_shutdown",
        "The node was shut down",
        "The machine stopped while the job ran on it: maintenance, an autoscaler, or a spot machine that was taken back.",
        _FREE,
        verdict="retry_free",
    ),
    _cluster(
        "node_lost",
        "Contact with the node was lost",
        "The node is gone, or it no longer knows the container. So the outcome of the command is unknown, and the "
        "command may still run there. It is never reported as a success.",
        _FREE,
        "Make the job safe to run twice: a lost node may come back.",
        verdict="retry_free",
    ),
    _cluster(
        "preempted",
        "The pod had to make room for a more important one",
        "The scheduler or the kubelet ended the pod so that one of higher priority could run.",
        _FREE,
        "Give the job a priority class of its own if it must not be moved.",
        verdict="retry_free",
    ),
    _cluster(
        "disrupted",
        "The pod was moved off its node",
        "A drain, a taint or an eviction ended the pod (condition `DisruptionTarget`).",
        _FREE,
        verdict="retry_free",
    ),
    _cluster(
        "pod_lost",
        "The pod is gone and left no outcome",
        "The Job failed, and its pod was deleted before anyone could see how it ended.",
        "Find out who deletes pods in the namespace.",
        "Make the job safe to run twice: it may have done its work.",
        settings="KJR_EVIDENCE_GRACE_SECONDS",
    ),
    _external(
        "volume_unavailable",
        "A volume of the job cannot be attached or mounted",
        "The volume exists, but the storage, its driver or another pod that holds it keeps the node from using it.",
        "Nothing, if it passes: the node keeps trying.",
        "Check the storage driver, and who else uses the volume.",
        verdict="retry_free",
        settings="KJR_VOLUME_GRACE_SECONDS",
    ),
    _cluster(
        "unschedulable_capacity",
        "No node has room for the job now",
        "The nodes that fit the job are full. There is room when other pods end or nodes are added.",
        "Wait, or ask for less.",
        "If it never starts, check whether the request is larger than any node.",
        verdict="wait",
    ),
    _user(
        "unschedulable_constraints",
        "No node matches what the job asks for",
        "Node selector, taints, affinity, ports or the location of a volume exclude every node, whether it is full or not.",
        "Compare the node selector and tolerations of the job with `kubectl get nodes --show-labels`.",
        verdict="fail_after_grace",
        settings="KJR_SCHEDULING_GRACE_SECONDS",
    ),
    _user(
        "unschedulable_impossible",
        "No machine that the cluster may add would hold the job",
        "The autoscaler simulated every machine type that it may add, and the job fits none of them.",
        "Ask for less CPU, memory or devices.",
        "Or have a larger machine type allowed.",
        verdict="fail_after_grace",
        settings="KJR_SCHEDULING_GRACE_SECONDS",
    ),
)
