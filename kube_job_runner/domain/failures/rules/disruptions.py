"""Rows for why the cluster ended a pod: the condition `DisruptionTarget`."""

from __future__ import annotations

import functools

from kube_job_runner.domain.failures.rule import Rule, row
from kube_job_runner.domain.failures.rules.pod_ends import STORAGE_LIMIT
from kube_job_runner.domain.failures.rules.shared import NOT_THE_JOB

_disruption = functools.partial(row, where="pod.condition")

RULES: tuple[Rule, ...] = (
    _disruption(
        "disruption-preempted",
        reasons=("PreemptionByScheduler", "PreemptionByKubeScheduler"),
        category="preempted",
        verdict="retry_free",
        explanation=(
            "The pod was removed from node {node} to make room for a pod with higher priority: {message}." + NOT_THE_JOB
        ),
        source="KEP-3329 DisruptionTarget; scheduler preemption",
    ),
    _disruption(
        "disruption-node-gone",
        reasons=("DeletionByPodGC",),
        category="node_lost",
        verdict="retry_free",
        explanation="Node {node} no longer exists: {message}." + NOT_THE_JOB,
        source="KEP-3329 DisruptionTarget; podgc controller",
    ),
    _disruption(
        "disruption-node-deleted",
        r"\bnode (no longer exists|was deleted|is gone)\b",
        category="node_lost",
        verdict="retry_free",
        explanation="Node {node} no longer exists: {message}." + NOT_THE_JOB,
        source="GKE DeletionByGCPControllerManager, and others like it: each cloud has its own reason",
    ),
    _disruption(
        "disruption-shutdown",
        r"shut",
        reasons=("TerminationByKubelet",),
        category="node_shutdown",
        verdict="retry_free",
        explanation="Node {node} was shut down: {message}." + NOT_THE_JOB,
        source="kubelet nodeshutdown",
    ),
    _disruption(
        "disruption-storage-limit",
        STORAGE_LIMIT,
        reasons=("TerminationByKubelet",),
        category="ephemeral_storage_exceeded",
        verdict="application",
        explanation=(
            "The pod wrote more than its storage limit and was evicted from node {node}: {message}. "
            "Raise the limit (resources.ephemeral_storage), or write less."
        ),
        source="kubelet eviction/helpers.go, local limits",
    ),
    _disruption(
        "disruption-critical-pod",
        r"preempt|critical pod",
        reasons=("TerminationByKubelet",),
        category="preempted",
        verdict="retry_free",
        explanation="Node {node} removed the pod to make room for a critical system pod: {message}." + NOT_THE_JOB,
        source="kubelet preemption.go",
    ),
    _disruption(
        "disruption-node-pressure",
        r"low on resource|had condition|pressure|evict",
        reasons=("TerminationByKubelet",),
        category="node_pressure_evicted",
        verdict="retry_free",
        explanation="Node {node} was low on a resource and evicted the pod: {message}." + NOT_THE_JOB,
        source="kubelet eviction_manager.go",
    ),
    _disruption(
        "disruption",
        reasons=(
            "DeletionByTaintManager",
            "DeletionByDeviceTaintManager",
            "EvictionByEvictionAPI",
            "TerminationByKubelet",
        ),
        category="disrupted",
        verdict="retry_free",
        explanation="The pod was moved off node {node} (drain, taint or eviction): {message}." + NOT_THE_JOB,
        source="KEP-3329 DisruptionTarget",
    ),
)

# Tried after the rows of the scheduler: they name no Kubernetes reason.
OTHERS: tuple[Rule, ...] = (
    _disruption(
        "disruption-other",
        r"^(?!containers with ).*\b(evict|preempt|delet|drain|taint|terminat|reclaim|descheduler?|disrupt|shut)(s|"
        r"ed|ing|ion|ting|e|ted|ments?)?\b",
        category="disrupted",
        verdict="retry_free",
        explanation="The pod was moved off node {node} ({reason}): {message}." + NOT_THE_JOB,
        source="KEP-3329 DisruptionTarget, reasons of other controllers",
    ),
)
