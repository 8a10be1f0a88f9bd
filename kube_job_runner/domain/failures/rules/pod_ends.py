"""Rows for pods that the node or the cluster ended or rejected: the reason in the status of the pod."""

from __future__ import annotations

import functools

from kube_job_runner.domain.failures.rule import Rule, row
from kube_job_runner.domain.failures.rules.shared import NOT_THE_JOB

STORAGE_LIMIT = r"exceed(s|ed) (the|its) (total |local )?(ephemeral.storage )?(limit|local ephemeral storage limit)"

_pod = functools.partial(row, where="pod.status")

RULES: tuple[Rule, ...] = (
    _pod(
        "storage-limit",
        STORAGE_LIMIT,
        reasons=("Evicted",),
        category="ephemeral_storage_exceeded",
        verdict="application",
        explanation=(
            "The pod wrote more than its storage limit and was evicted from node {node}: {message}. "
            "Raise the limit (resources.ephemeral_storage), or write less."
        ),
        source="kubelet eviction/helpers.go, local limits",
    ),
    _pod(
        "node-replaced",
        r"^Evicted pod|\b(drifted|drain(ed|ing)?|consolidat\w+|underutilized|spot interruption)\b",
        reasons=("Evicted",),
        category="disrupted",
        verdict="retry_free",
        explanation="Node {node} is being replaced, so the pod was moved off it: {message}." + NOT_THE_JOB,
        source="Karpenter disruption; kubectl drain",
    ),
    _pod(
        "node-pressure",
        reasons=("Evicted",),
        category="node_pressure_evicted",
        verdict="retry_free",
        explanation="Node {node} was low on a resource and evicted the pod: {message}." + NOT_THE_JOB,
        source="kubelet eviction/helpers.go, eviction_manager.go",
    ),
    _pod(
        "pod-deadline",
        reasons=("DeadlineExceeded",),
        category="deadline_exceeded",
        verdict="application",
        explanation=(
            "The pod ran longer than its deadline in the cluster: {message}. "
            "Raise the run timeout, or let the job do less."
        ),
        source="kubelet active_deadline.go",
    ),
    _pod(
        "pod-oom",
        reasons=("OOMKilled",),
        category="out_of_memory",
        verdict="application",
        explanation=("The pod used more memory than its limit: {message}. Raise resources.memory, or use less memory."),
        source="kubectl's summary of container states",
    ),
    _pod(
        "node-shutdown",
        reasons=("Terminated", "Shutdown", "NodeShutdown"),
        category="node_shutdown",
        verdict="retry_free",
        explanation=(
            "Node {node} was shut down (for maintenance, or a spot machine was taken back): {message}." + NOT_THE_JOB
        ),
        source="kubelet nodeshutdown, 1.20 and later",
    ),
    _pod(
        "node-contact-lost",
        reasons=("NodeLost",),
        category="node_lost",
        verdict="retry_free",
        explanation=(
            "Contact with node {node} was lost: {message}. The container may still run there. A new attempt is free."
        ),
        source="node lifecycle controller, pkg/util/node",
    ),
    _pod(
        "critical-pod",
        reasons=("Preempting", "Preempted"),
        category="preempted",
        verdict="retry_free",
        explanation="Node {node} removed the pod to make room for a critical system pod: {message}." + NOT_THE_JOB,
        source="kubelet preemption.go",
    ),
    _pod(
        "profile-disabled",
        r"not enabled|not supported|invalid|disabled",
        reasons=("AppArmor",),
        category="security_policy",
        verdict="fail_now",
        explanation=(
            "Node {node} cannot enforce the AppArmor profile of the pod: {message}. "
            "Use nodes with AppArmor, or no profile."
        ),
        source="kubelet, pkg/security/apparmor/validate.go",
    ),
    _pod(
        "profile-not-loaded",
        reasons=("AppArmor",),
        category="security_policy",
        verdict="fail_after_grace",
        grace="config",
        explanation=(
            "Node {node} does not have the AppArmor profile of the pod: {message}. Load the profile onto the nodes."
        ),
        source="kubelet, pkg/security/apparmor/validate.go",
    ),
    _pod(
        "sysctl-forbidden",
        reasons=("SysctlForbidden",),
        category="security_policy",
        verdict="fail_now",
        explanation=(
            "Node {node} does not allow a kernel setting that the pod asks for: {message}. "
            "Allow it on the nodes, or leave it out."
        ),
        source="kubelet sysctl/allowlist.go",
    ),
    _pod(
        "node-lacks-feature",
        reasons=(
            "PodOSNotSupported",
            "PodOSSelectorNodeLabelDoesNotMatch",
            "SupplementalGroupsPolicyNotSupported",
            "InitContainerRestartPolicyForbidden",
            "PodFeatureUnsupported",
            "UserNamespacesUnsupported",
            "PodLevelResourcesUnsupported",
            "NodeDeclaredFeaturesPredicate",
        ),
        category="node_rejected",
        verdict="fail_now",
        explanation=(
            "Node {node} lacks a feature that the pod needs and rejected it: {message}. Choose nodes that have it."
        ),
        source="kubelet lifecycle/predicate.go",
    ),
    _pod(
        "node-rejected",
        reasons=(
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
        ),
        category="node_rejected",
        verdict="retry_free",
        explanation="Node {node} rejected the pod before any container ran ({reason}): {message}." + NOT_THE_JOB,
        source="kubelet lifecycle/predicate.go, cm/topologymanager, cm/devicemanager",
    ),
    _pod(
        "node-out-of-resource",
        r"(pod was rejected|didn't have enough (resource|capacity)|predicate \S+ failed|which is unexpected|"
        r"was not admitted|cannot be allocated)",
        category="node_rejected",
        verdict="retry_free",
        explanation="Node {node} rejected the pod before any container ran ({reason}): {message}." + NOT_THE_JOB,
        source="kubelet lifecycle/predicate.go, OutOf<resource>",
    ),
    _pod(
        "node-out-of",
        reasons=tuple(f"OutOf{what}" for what in ("cpu", "memory", "pods", "ephemeral-storage", "storage", "disk")),
        category="node_rejected",
        verdict="retry_free",
        explanation="Node {node} had no room for the pod and rejected it ({reason}): {message}." + NOT_THE_JOB,
        source="kubelet lifecycle/predicate.go, OutOf<resource>",
    ),
)
