"""Rows for pods that the node or the cluster ended or rejected: the reason in the status, or the condition `DisruptionTarget`."""

import functools

from kube_job_runner.domain.failures.rule import Rule, application, fail_after_grace, fail_now, retry_free
from kube_job_runner.domain.failures.rules.rule_rows import NOT_THE_JOB, by_reason, row

_STORAGE_LIMIT = r"exceed(s|ed) (the|its) (total |local )?(ephemeral.storage )?(limit|local ephemeral storage limit)"

_pod = functools.partial(by_reason, where="pod.status")
_pod_text = functools.partial(row, where="pod.status")
_disruption = functools.partial(by_reason, where="pod.condition")
_disruption_text = functools.partial(row, where="pod.condition")

RULES: tuple[Rule, ...] = (
    _pod_text(
        "storage-limit",
        _STORAGE_LIMIT,
        application("ephemeral_storage_exceeded"),
        "The pod wrote more than its storage limit and was evicted from node {node}: {message}. "
        "Raise the limit (resources.ephemeral_storage), or write less.",
        "kubelet eviction/helpers.go, local limits",
        reasons="Evicted",
    ),
    _pod_text(
        "node-replaced",
        r"^Evicted pod|\b(drifted|drain(ed|ing)?|consolidat\w+|underutilized|spot interruption)\b",
        retry_free("disrupted"),
        "Node {node} is being replaced, so the pod was moved off it: {message}." + NOT_THE_JOB,
        "Karpenter disruption; kubectl drain",
        reasons="Evicted",
    ),
    _pod(
        "node-pressure",
        "Evicted",
        retry_free("node_pressure_evicted"),
        "Node {node} was low on a resource and evicted the pod: {message}." + NOT_THE_JOB,
        "kubelet eviction/helpers.go, eviction_manager.go",
    ),
    _pod(
        "pod-deadline",
        "DeadlineExceeded",
        application("deadline_exceeded"),
        "The pod ran longer than its deadline in the cluster: {message}. Raise the run timeout, or let the job do less.",
        "kubelet active_deadline.go",
    ),
    _pod(
        "pod-oom",
        "OOMKilled",
        application("out_of_memory"),
        "The pod used more memory than its limit: {message}. Raise resources.memory, or use less memory.",
        "kubectl's summary of container states",
    ),
    _pod(
        "node-shutdown",
        "Terminated Shutdown NodeShutdown",
        retry_free("node_shutdown"),
        "Node {node} was shut down (for maintenance, or a spot machine was taken back): {message}." + NOT_THE_JOB,
        "kubelet nodeshutdown, 1.20 and later",
    ),
    _pod(
        "node-contact-lost",
        "NodeLost",
        retry_free("node_lost"),
        "Contact with node {node} was lost: {message}. The container may still run there. A new attempt is free.",
        "node lifecycle controller, pkg/util/node",
    ),
    _pod(
        "critical-pod",
        "Preempting Preempted",
        retry_free("preempted"),
        "Node {node} removed the pod to make room for a critical system pod: {message}." + NOT_THE_JOB,
        "kubelet preemption.go",
    ),
    _pod_text(
        "profile-disabled",
        r"not enabled|not supported|invalid|disabled",
        fail_now("security_policy"),
        "Node {node} cannot enforce the AppArmor profile of the pod: {message}. Use nodes with AppArmor, or no profile.",
        "kubelet, pkg/security/apparmor/validate.go",
        reasons="AppArmor",
    ),
    _pod(
        "profile-not-loaded",
        "AppArmor",
        fail_after_grace("security_policy", "config"),
        "Node {node} does not have the AppArmor profile of the pod: {message}. Load the profile onto the nodes.",
        "kubelet, pkg/security/apparmor/validate.go",
    ),
    _pod(
        "sysctl-forbidden",
        "SysctlForbidden",
        fail_now("security_policy"),
        "Node {node} does not allow a kernel setting that the pod asks for: {message}. Allow it on the nodes, or leave it out.",
        "kubelet sysctl/allowlist.go",
    ),
    _pod(
        "node-lacks-feature",
        "PodOSNotSupported PodOSSelectorNodeLabelDoesNotMatch SupplementalGroupsPolicyNotSupported "
        "InitContainerRestartPolicyForbidden PodFeatureUnsupported UserNamespacesUnsupported "
        "PodLevelResourcesUnsupported NodeDeclaredFeaturesPredicate",
        fail_now("node_rejected"),
        "Node {node} lacks a feature that the pod needs and rejected it: {message}. Choose nodes that have it.",
        "kubelet lifecycle/predicate.go",
    ),
    _pod(
        "node-rejected",
        "UnexpectedAdmissionError NodeAffinity NodeName NodePorts TaintToleration NodeUnschedulable "
        "PodToleratesNodeTaints NodeResourcesFit TopologyAffinityError SMTAlignmentError AdmissionFailed "
        "InvalidNodeInfo UnknownReason UnexpectedPredicateFailureType VolumeAttachmentLimitExceeded HostPortConflict",
        retry_free("node_rejected"),
        "Node {node} rejected the pod before any container ran ({reason}): {message}." + NOT_THE_JOB,
        "kubelet lifecycle/predicate.go, cm/topologymanager, cm/devicemanager",
    ),
    _pod_text(
        "node-out-of-resource",
        r"(pod was rejected|didn't have enough (resource|capacity)|predicate \S+ failed|which is unexpected|"
        r"was not admitted|cannot be allocated)",
        retry_free("node_rejected"),
        "Node {node} rejected the pod before any container ran ({reason}): {message}." + NOT_THE_JOB,
        "kubelet lifecycle/predicate.go, OutOf<resource>",
    ),
    _pod(
        "node-out-of",
        "OutOfcpu OutOfmemory OutOfpods OutOfephemeral-storage OutOfstorage OutOfdisk",
        retry_free("node_rejected"),
        "Node {node} had no room for the pod and rejected it ({reason}): {message}." + NOT_THE_JOB,
        "kubelet lifecycle/predicate.go, OutOf<resource>",
    ),
    # Why the cluster ended a pod: the condition `DisruptionTarget`.
    _disruption(
        "disruption-preempted",
        "PreemptionByScheduler PreemptionByKubeScheduler",
        retry_free("preempted"),
        "The pod was removed from node {node} to make room for a pod with higher priority: {message}." + NOT_THE_JOB,
        "KEP-3329 DisruptionTarget; scheduler preemption",
    ),
    _disruption(
        "disruption-node-gone",
        "DeletionByPodGC",
        retry_free("node_lost"),
        "Node {node} no longer exists: {message}." + NOT_THE_JOB,
        "KEP-3329 DisruptionTarget; podgc controller",
    ),
    _disruption_text(
        "disruption-node-deleted",
        r"\bnode (no longer exists|was deleted|is gone)\b",
        retry_free("node_lost"),
        "Node {node} no longer exists: {message}." + NOT_THE_JOB,
        "GKE DeletionByGCPControllerManager, and others like it: each cloud has its own reason",
    ),
    _disruption_text(
        "disruption-shutdown",
        r"shut",
        retry_free("node_shutdown"),
        "Node {node} was shut down: {message}." + NOT_THE_JOB,
        "kubelet nodeshutdown",
        reasons="TerminationByKubelet",
    ),
    _disruption_text(
        "disruption-storage-limit",
        _STORAGE_LIMIT,
        application("ephemeral_storage_exceeded"),
        "The pod wrote more than its storage limit and was evicted from node {node}: {message}. "
        "Raise the limit (resources.ephemeral_storage), or write less.",
        "kubelet eviction/helpers.go, local limits",
        reasons="TerminationByKubelet",
    ),
    _disruption_text(
        "disruption-critical-pod",
        r"preempt|critical pod",
        retry_free("preempted"),
        "Node {node} removed the pod to make room for a critical system pod: {message}." + NOT_THE_JOB,
        "kubelet preemption.go",
        reasons="TerminationByKubelet",
    ),
    _disruption_text(
        "disruption-node-pressure",
        r"low on resource|had condition|pressure|evict",
        retry_free("node_pressure_evicted"),
        "Node {node} was low on a resource and evicted the pod: {message}." + NOT_THE_JOB,
        "kubelet eviction_manager.go",
        reasons="TerminationByKubelet",
    ),
    _disruption(
        "disruption",
        "DeletionByTaintManager DeletionByDeviceTaintManager EvictionByEvictionAPI TerminationByKubelet",
        retry_free("disrupted"),
        "The pod was moved off node {node} (drain, taint or eviction): {message}." + NOT_THE_JOB,
        "KEP-3329 DisruptionTarget",
    ),
)

# Tried after the rows of the scheduler: they name no Kubernetes reason.
OTHERS: tuple[Rule, ...] = (
    _disruption_text(
        "disruption-other",
        r"^(?!containers with ).*\b(evict|preempt|delet|drain|taint|terminat|reclaim|descheduler?|disrupt|shut)(s|"
        r"ed|ing|ion|ting|e|ted|ments?)?\b",
        retry_free("disrupted"),
        "The pod was moved off node {node} ({reason}): {message}." + NOT_THE_JOB,
        "KEP-3329 DisruptionTarget, reasons of other controllers",
    ),
)
