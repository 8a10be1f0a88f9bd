"""Rows for what has ended: containers by their exit, pods by what the kubelet or the cluster did to them."""

from __future__ import annotations

from kube_job_runner.domain.failures.rule import Rule, text

_FREE = "Nothing of this is the job's fault; a new attempt is free."
_BY_SIGNAL = frozenset(range(129, 193))
_LIMIT = r"exceed(s|ed) (the|its) (total |local )?(ephemeral.storage )?(limit|local ephemeral storage limit)"
_LOADER = (
    r"^\s*(standard_init_linux\.go:\d+: |\[\w+ +tini \(\d+\)\] )?exec:? (user process caused|failed|/?\S+?)\W.{0,200}"
)

RULES: tuple[Rule, ...] = (
    Rule(
        name="oom-killed",
        where="container.terminated",
        reasons=frozenset({"OOMKilled"}),
        category="out_of_memory",
        verdict="application",
        explanation=(
            "Container {container} used more memory than its limit, and the kernel killed it or a process of it "
            "(exit code "
            "{exit_code}). Raise resources.memory, or use less."
        ),
        source="containerd internal/cri, CRI-O and cri-dockerd: the memory cgroup's OOM event",
    ),
    Rule(
        name="container-lost",
        where="container.terminated",
        reasons=frozenset({"ContainerStatusUnknown"}),
        category="node_lost",
        verdict="retry_free",
        explanation=(
            "Node {node} lost track of container {container}, so its outcome is unknown: {message}. A new attempt "
            "is free."
        ),
        source="kubelet kubelet_pods.go: exit code 137 is made up by the kubelet",
    ),
    Rule(
        name="container-unknown",
        where="container.terminated",
        reasons=frozenset({"Unknown"}),
        category="node_lost",
        verdict="retry_free",
        explanation=(
            "The runtime of node {node} does not know how container {container} ended (exit code {exit_code}), "
            "as after a "
            "restart of the node. A new attempt is free."
        ),
        source="containerd internal/cri restart.go: exit code 255, reason Unknown",
    ),
    Rule(
        name="loader-architecture",
        where="container.terminated",
        reasons=frozenset({"Error"}),
        pattern=text(_LOADER + r"exec format error"),
        category="wrong_architecture",
        verdict="fail_now",
        explanation=(
            "The program of container {container} is built for another CPU type, or is a script without `#!`: "
            "{message}. Use "
            "an image for the CPU type of node {node}."
        ),
        source="runc standard_init_linux.go: reported from within the container",
    ),
    Rule(
        name="loader-not-found",
        where="container.terminated",
        reasons=frozenset({"Error"}),
        pattern=text(_LOADER + r"(no such file or directory|executable file not found)"),
        category="command_not_found",
        verdict="fail_now",
        explanation=(
            "The program of container {container}, or the interpreter or loader that it needs, is not in the "
            "image: {message}. "
            "Check the image, also that it is for the CPU type of the node."
        ),
        source="runc standard_init_linux.go: reported from within the container",
    ),
    Rule(
        name="loader-not-executable",
        where="container.terminated",
        reasons=frozenset({"Error"}),
        pattern=text(_LOADER + r"(permission denied|is a directory|operation not permitted)"),
        category="command_not_executable",
        verdict="fail_now",
        explanation=(
            "The command of container {container} may not be executed: {message}. Set its executable bit in the image."
        ),
        source="runc standard_init_linux.go: reported from within the container",
    ),
    Rule(
        name="killed-by-signal",
        where="container.terminated",
        exit_codes=_BY_SIGNAL,
        category="killed_by_signal",
        verdict="application",
        explanation=(
            "Container {container} was killed by {signal} (exit code {exit_code}).{said} If it did not end "
            "itself so, see "
            "whether the node, a deadline or a cancel ended it."
        ),
        source="POSIX 128 + signal; 137 alone proves no lack of memory",
    ),
    Rule(
        name="command-exit-127",
        where="container.terminated",
        exit_codes=frozenset({127}),
        category="application_exit",
        verdict="application",
        explanation=(
            "Container {container} exited with code 127: a shell uses it for a command that it cannot "
            "find.{said} Its log says "
            "which."
        ),
        source="POSIX shell exit codes",
    ),
    Rule(
        name="command-exit-126",
        where="container.terminated",
        exit_codes=frozenset({126}),
        category="application_exit",
        verdict="application",
        explanation=(
            "Container {container} exited with code 126: a shell uses it for a command that may not be "
            "executed.{said} Its log "
            "says which."
        ),
        source="POSIX shell exit codes",
    ),
    Rule(
        name="command-exit",
        where="container.terminated",
        exit_codes=frozenset(range(1, 256)),
        category="application_exit",
        verdict="application",
        explanation="Container {container} exited with code {exit_code}.{said}",
        source="core/v1 ContainerStateTerminated",
    ),
    Rule(
        name="command-error",
        where="container.terminated",
        reasons=frozenset({"Error"}),
        category="application_exit",
        verdict="application",
        explanation="Container {container} ended with an error (exit code {exit_code}).{said}",
        source="core/v1 ContainerStateTerminated",
    ),
    # --- a pod that the node or the cluster ended ---
    Rule(
        name="storage-limit",
        where="pod.status",
        reasons=frozenset({"Evicted"}),
        pattern=text(_LIMIT),
        category="ephemeral_storage_exceeded",
        verdict="application",
        explanation=(
            "The pod wrote more than its own storage limit and was evicted from node {node}: {message}. Raise "
            "the limit "
            "(resources.ephemeral_storage), or write less."
        ),
        source="kubelet eviction/helpers.go, local limits",
    ),
    Rule(
        name="node-replaced",
        where="pod.status",
        reasons=frozenset({"Evicted"}),
        pattern=text(r"^Evicted pod|\b(drifted|drain(ed|ing)?|consolidat\w+|underutilized|spot interruption)\b"),
        category="disrupted",
        verdict="retry_free",
        explanation="The pod was moved off node {node}, which is replaced: {message}. " + _FREE,
        source="Karpenter disruption; kubectl drain",
    ),
    Rule(
        name="node-pressure",
        where="pod.status",
        reasons=frozenset({"Evicted"}),
        category="node_pressure_evicted",
        verdict="retry_free",
        explanation="Node {node} was low on a resource and evicted the pod: {message}. " + _FREE,
        source="kubelet eviction/helpers.go, eviction_manager.go",
    ),
    Rule(
        name="pod-deadline",
        where="pod.status",
        reasons=frozenset({"DeadlineExceeded"}),
        category="deadline_exceeded",
        verdict="application",
        explanation="The pod ran longer than its deadline in the cluster: {message}. Raise the run timeout, or do less.",
        source="kubelet active_deadline.go",
    ),
    Rule(
        name="pod-oom",
        where="pod.status",
        reasons=frozenset({"OOMKilled"}),
        category="out_of_memory",
        verdict="application",
        explanation="The pod used more memory than its limit: {message}. Raise resources.memory, or use less.",
        source="kubectl's summary of container states",
    ),
    Rule(
        name="node-shutdown",
        where="pod.status",
        reasons=frozenset({"Terminated", "Shutdown", "NodeShutdown"}),
        category="node_shutdown",
        verdict="retry_free",
        explanation="Node {node} was shut down (maintenance, or a spot machine taken back): {message}. " + _FREE,
        source="kubelet nodeshutdown, 1.20 and later",
    ),
    Rule(
        name="node-contact-lost",
        where="pod.status",
        reasons=frozenset({"NodeLost"}),
        category="node_lost",
        verdict="retry_free",
        explanation=(
            "Contact with node {node} was lost; the container may still run there: {message}. A new attempt is free."
        ),
        source="node lifecycle controller, pkg/util/node",
    ),
    Rule(
        name="critical-pod",
        where="pod.status",
        reasons=frozenset({"Preempting", "Preempted"}),
        category="preempted",
        verdict="retry_free",
        explanation="The pod was removed from node {node} to admit a critical one of the system: {message}. " + _FREE,
        source="kubelet preemption.go",
    ),
    Rule(
        name="profile-disabled",
        where="pod.status",
        reasons=frozenset({"AppArmor"}),
        pattern=text(r"not enabled|not supported|invalid|disabled"),
        category="security_policy",
        verdict="fail_now",
        explanation=(
            "Node {node} cannot enforce the AppArmor profile of the pod: {message}. Use nodes with AppArmor, or no "
            "profile."
        ),
        source="kubelet, pkg/security/apparmor/validate.go",
    ),
    Rule(
        name="profile-not-loaded",
        where="pod.status",
        reasons=frozenset({"AppArmor"}),
        category="security_policy",
        verdict="fail_after_grace",
        grace="config",
        explanation="Node {node} does not have the AppArmor profile of the pod: {message}. Load it onto the nodes.",
        source="kubelet, pkg/security/apparmor/validate.go",
    ),
    Rule(
        name="sysctl-forbidden",
        where="pod.status",
        reasons=frozenset({"SysctlForbidden"}),
        category="security_policy",
        verdict="fail_now",
        explanation=(
            "Node {node} does not allow a kernel setting that the pod asks for: {message}. Allow it on the nodes, "
            "or leave it out."
        ),
        source="kubelet sysctl/allowlist.go",
    ),
    Rule(
        name="node-lacks-feature",
        where="pod.status",
        reasons=frozenset(
            {
                "PodOSNotSupported",
                "PodOSSelectorNodeLabelDoesNotMatch",
                "SupplementalGroupsPolicyNotSupported",
                "InitContainerRestartPolicyForbidden",
                "PodFeatureUnsupported",
                "UserNamespacesUnsupported",
                "PodLevelResourcesUnsupported",
                "NodeDeclaredFeaturesPredicate",
            }
        ),
        category="node_rejected",
        verdict="fail_now",
        explanation="Node {node} lacks what the pod needs and rejected it: {message}. Choose nodes that have it.",
        source="kubelet lifecycle/predicate.go",
    ),
    Rule(
        name="node-rejected",
        where="pod.status",
        reasons=frozenset(
            {
                "UnexpectedAdmissionError",
                "NodeAffinity",
                "NodeName",
                "NodePorts",
                "TaintToleration",
                "NodeUnschedulable",
                "PodToleratesNodeTaints",
                "NodeResourcesFit",
                "TopologyAffinityError",
                "SMTAlignmentError",
                "AdmissionFailed",
                "InvalidNodeInfo",
                "UnknownReason",
                "UnexpectedPredicateFailureType",
                "VolumeAttachmentLimitExceeded",
                "HostPortConflict",
            }
        ),
        category="node_rejected",
        verdict="retry_free",
        explanation="Node {node} rejected the pod before anything of it ran ({reason}): {message}. " + _FREE,
        source="kubelet lifecycle/predicate.go, cm/topologymanager, cm/devicemanager",
    ),
    Rule(
        name="node-out-of-resource",
        where="pod.status",
        pattern=text(
            r"(pod was rejected|didn't have enough (resource|capacity)|predicate \S+ failed|which is unexpected|"
            r"was not admitted|cannot be allocated)"
        ),
        category="node_rejected",
        verdict="retry_free",
        explanation="Node {node} rejected the pod before anything of it ran ({reason}): {message}. " + _FREE,
        source="kubelet lifecycle/predicate.go, OutOf<resource>",
    ),
    Rule(
        name="node-out-of",
        where="pod.status",
        reasons=frozenset(f"OutOf{what}" for what in ("cpu", "memory", "pods", "ephemeral-storage", "storage", "disk")),
        category="node_rejected",
        verdict="retry_free",
        explanation="Node {node} had no room for the pod and rejected it ({reason}): {message}. " + _FREE,
        source="kubelet lifecycle/predicate.go, OutOf<resource>",
    ),
    # --- why the cluster ended a pod: the condition DisruptionTarget ---
    Rule(
        name="disruption-preempted",
        where="pod.condition",
        reasons=frozenset({"PreemptionByScheduler", "PreemptionByKubeScheduler"}),
        category="preempted",
        verdict="retry_free",
        explanation="The pod was removed from node {node} to make room for one of higher priority: {message}. " + _FREE,
        source="KEP-3329 DisruptionTarget; scheduler preemption",
    ),
    Rule(
        name="disruption-node-gone",
        where="pod.condition",
        reasons=frozenset({"DeletionByPodGC"}),
        category="node_lost",
        verdict="retry_free",
        explanation="Node {node} no longer exists: {message}. " + _FREE,
        source="KEP-3329 DisruptionTarget; podgc controller",
    ),
    Rule(
        name="disruption-node-deleted",
        where="pod.condition",
        pattern=text(r"\bnode (no longer exists|was deleted|is gone)\b"),
        category="node_lost",
        verdict="retry_free",
        explanation="Node {node} no longer exists: {message}. " + _FREE,
        source="GKE DeletionByGCPControllerManager, and others like it: each cloud has its own reason",
    ),
    Rule(
        name="disruption-shutdown",
        where="pod.condition",
        reasons=frozenset({"TerminationByKubelet"}),
        pattern=text(r"shut"),
        category="node_shutdown",
        verdict="retry_free",
        explanation="Node {node} was shut down: {message}. " + _FREE,
        source="kubelet nodeshutdown",
    ),
    Rule(
        name="disruption-storage-limit",
        where="pod.condition",
        reasons=frozenset({"TerminationByKubelet"}),
        pattern=text(_LIMIT),
        category="ephemeral_storage_exceeded",
        verdict="application",
        explanation=(
            "The pod wrote more than its own storage limit and was evicted from node {node}: {message}. Raise the "
            "limit, or write less."
        ),
        source="kubelet eviction/helpers.go, local limits",
    ),
    Rule(
        name="disruption-critical-pod",
        where="pod.condition",
        reasons=frozenset({"TerminationByKubelet"}),
        pattern=text(r"preempt|critical pod"),
        category="preempted",
        verdict="retry_free",
        explanation="The pod was removed from node {node} to admit a critical one of the system: {message}. " + _FREE,
        source="kubelet preemption.go",
    ),
    Rule(
        name="disruption-node-pressure",
        where="pod.condition",
        reasons=frozenset({"TerminationByKubelet"}),
        pattern=text(r"low on resource|had condition|pressure|evict"),
        category="node_pressure_evicted",
        verdict="retry_free",
        explanation="Node {node} was low on a resource and evicted the pod: {message}. " + _FREE,
        source="kubelet eviction_manager.go",
    ),
    Rule(
        name="disruption",
        where="pod.condition",
        reasons=frozenset(
            {"DeletionByTaintManager", "DeletionByDeviceTaintManager", "EvictionByEvictionAPI", "TerminationByKubelet"}
        ),
        category="disrupted",
        verdict="retry_free",
        explanation="The pod was moved off node {node} (drain, taint or eviction): {message}. " + _FREE,
        source="KEP-3329 DisruptionTarget",
    ),
)
