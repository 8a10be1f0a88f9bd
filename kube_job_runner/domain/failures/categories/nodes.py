"""Categories of nodes, storage and the scheduler."""

from kube_job_runner.domain.failures.categories.category import Category

_FREE = "Nothing, if it is rare: a new attempt is free and avoids the node where possible."

CATEGORIES = (
    Category(
        name="runtime_error",
        title="The container runtime of the node failed",
        whose="cluster",
        happened=(
            "The runtime could not unpack, create or start the container because of its own faults: timeouts, "
            "leftovers, devices, cgroups."
        ),
        remedy=(_FREE, "If it is always the same node: check its runtime and disk, or take it out of service."),
        verdict="retry_free",
        settings=("KJR_INFRASTRUCTURE_GRACE_SECONDS",),
    ),
    Category(
        name="sandbox_failed",
        title="The network or the sandbox of the pod could not be set up",
        whose="cluster",
        happened=(
            "Before it starts a container, the node creates a sandbox with a network address. "
            "That failed, often because no address is free or the network plugin is down."
        ),
        remedy=(_FREE, "Check the network plugin, the free addresses, and the pause image of the node."),
        verdict="retry_free",
        settings=("KJR_INFRASTRUCTURE_GRACE_SECONDS",),
    ),
    Category(
        name="node_disk_full",
        title="The disk of the node is full",
        whose="cluster",
        happened="The node had no space to store the image or the container.",
        remedy=(_FREE, "Give the nodes larger disks, or lower the kubelet's thresholds of image garbage collection."),
        verdict="retry_free",
        settings=("KJR_INFRASTRUCTURE_GRACE_SECONDS",),
    ),
    Category(
        name="node_rejected",
        title="The node rejected the pod",
        whose="cluster",
        happened=(
            "The scheduler chose a node, and its kubelet rejected the pod: no room left, a missing device, "
            "changed labels. No container of the job ran."
        ),
        remedy=(_FREE, "If every node rejects it: the job asks for a combination that no node can give."),
        verdict="retry_free",
    ),
    Category(
        name="node_pressure_evicted",
        title="The node was low on a resource and evicted the pod",
        whose="cluster",
        happened="Memory, disk or process ids of the node ran low, and the kubelet ended pods to protect the node.",
        remedy=(
            _FREE,
            "Ask for what the job really uses (`resources`): pods far above their requests are evicted first.",
        ),
        verdict="retry_free",
    ),
    Category(
        name="node_shutdown",
        title="The node was shut down",
        whose="cluster",
        happened=(
            "The machine stopped while the job ran on it: maintenance, an autoscaler, or a spot machine that was "
            "taken back."
        ),
        remedy=(_FREE,),
        verdict="retry_free",
    ),
    Category(
        name="node_lost",
        title="Contact with the node was lost",
        whose="cluster",
        happened=(
            "The node is gone, or it no longer knows the container. "
            "So the outcome of the command is unknown, and the command may still run there. "
            "It is never reported as a success."
        ),
        remedy=(_FREE, "Make the job safe to run twice: a lost node may come back."),
        verdict="retry_free",
    ),
    Category(
        name="preempted",
        title="The pod had to make room for a more important one",
        whose="cluster",
        happened="The scheduler or the kubelet ended the pod so that one of higher priority could run.",
        remedy=(_FREE, "Give the job a priority class of its own if it must not be moved."),
        verdict="retry_free",
    ),
    Category(
        name="disrupted",
        title="The pod was moved off its node",
        whose="cluster",
        happened="A drain, a taint or an eviction ended the pod (condition `DisruptionTarget`).",
        remedy=(_FREE,),
        verdict="retry_free",
    ),
    Category(
        name="pod_lost",
        title="The pod is gone and left no outcome",
        whose="cluster",
        happened="The Job failed, and its pod was deleted before anyone could see how it ended.",
        remedy=(
            "Find out who deletes pods in the namespace.",
            "Make the job safe to run twice: it may have done its work.",
        ),
        verdict=None,
        settings=("KJR_EVIDENCE_GRACE_SECONDS",),
    ),
    Category(
        name="volume_unavailable",
        title="A volume of the job cannot be attached or mounted",
        whose="external",
        happened=(
            "The volume exists, but the storage, its driver or another pod that holds it keeps the node from using it."
        ),
        remedy=(
            "Nothing, if it passes: the node keeps trying.",
            "Check the storage driver, and who else uses the volume.",
        ),
        verdict="retry_free",
        settings=("KJR_VOLUME_GRACE_SECONDS",),
    ),
    Category(
        name="unschedulable_capacity",
        title="No node has room for the job now",
        whose="cluster",
        happened="The nodes that fit the job are full. There is room when other pods end or nodes are added.",
        remedy=("Wait, or ask for less.", "If it never starts, check whether the request is larger than any node."),
        verdict="wait",
    ),
    Category(
        name="unschedulable_constraints",
        title="No node matches what the job asks for",
        whose="user",
        happened=(
            "Node selector, taints, affinity, ports or the location of a volume exclude every node, whether it "
            "is full or not."
        ),
        remedy=("Compare the node selector and tolerations of the job with `kubectl get nodes --show-labels`.",),
        verdict="fail_after_grace",
        settings=("KJR_SCHEDULING_GRACE_SECONDS",),
    ),
    Category(
        name="unschedulable_impossible",
        title="No machine that the cluster may add would hold the job",
        whose="user",
        happened="The autoscaler simulated every machine type that it may add, and the job fits none of them.",
        remedy=("Ask for less CPU, memory or devices.", "Or have a larger machine type allowed."),
        verdict="fail_after_grace",
        settings=("KJR_SCHEDULING_GRACE_SECONDS",),
    ),
)
