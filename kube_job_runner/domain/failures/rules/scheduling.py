"""Rows for what the scheduler says about a pod.

The scheduler counts its reasons per node and lists them all. A node that only lacks room is a matter of capacity, which passes.
The job's own constraints are to blame only when no node merely lacks room. The text after `preemption:` repeats the list, so
the patterns do not look at it.
"""

from __future__ import annotations

import functools

from kube_job_runner.domain.failures.rule import Rule, row

_BEFORE = r"^(?:(?!preemption:).)*?"
_SCHEDULER = "scheduler framework plugins, FitError"

_scheduler = functools.partial(row, where="pod.condition")
_unschedulable = functools.partial(_scheduler, reasons=frozenset({"Unschedulable"}), source=_SCHEDULER)

RULES: tuple[Rule, ...] = (
    _unschedulable(
        "claim-missing",
        _BEFORE + r"(persistentvolumeclaim|pvc).{0,300}(not found|is being deleted|does not exist|non-existent)|"
        r"(persistentvolume|pv\(s\)|storageclass\S*|storage class).{0,200}(not found|does not exist|non-existent)|"
        r"non-existent (pv|persistentvolume)",
        category="volume_missing",
        verdict="fail_after_grace",
        grace="volume",
        explanation="A volume that the job mounts does not exist: {message}. Create the claim, or correct its name.",
        source="scheduler volumebinding and volumezone plugins",
    ),
    _unschedulable(
        "device-claim-missing",
        _BEFORE + r"(resourceclaim|deviceclass|resource ?class)\S* .{0,200}(not found|does not exist)",
        category="config_missing",
        verdict="fail_after_grace",
        grace="config",
        explanation=(
            "A device claim or class that the job names does not exist: {message}. Create it, or correct the name."
        ),
        source="scheduler dynamicresources plugin",
    ),
    _unschedulable(
        "claim-unbound",
        _BEFORE + r"unbound (immediate )?PersistentVolumeClaims|"
        r"(binding volumes|VolumeBinding).{0,120}(timed? ?out|error|fail|context)|"
        r"waiting for (a volume|volume|external provisioner|first consumer)|claim .{0,200}not bound",
        category="volume_unavailable",
        verdict="retry_free",
        grace="volume",
        explanation=(
            "A volume of the job is not ready yet: {message}. The cluster's storage has been asked for it. "
            "If it never appears, check the storage class of the claim."
        ),
        source="scheduler volumebinding plugin",
    ),
    _unschedulable(
        "machines-limited",
        _BEFORE + r"exceed\w* limits for (nodepool|provisioner)|limits? (reached|exceeded) for (nodepool|provisioner)",
        category="unschedulable_capacity",
        verdict="wait",
        explanation="The cluster has reached its maximum size: {message}. The job starts when there is room.",
        source="Karpenter scheduling errors",
    ),
    _unschedulable(
        "no-machine-fits",
        _BEFORE + r"no instance type|no offering|no available instance|"
        r"(incompatible with|did not tolerate).{0,200}(nodepool|provisioner)|"
        r"no (nodepool|provisioner)s? (matched|found|satisf)|wouldn't fit if a new node|"
        r"no node ?(group|pool)s? (can|could|would|fit)",
        category="unschedulable_impossible",
        verdict="fail_after_grace",
        grace="scheduling",
        explanation=(
            "No machine type that the cluster may add is large enough or suitable for the job: {message}. "
            "Ask for less, or correct its node selector and tolerations."
        ),
        source="Karpenter scheduling errors; cluster-autoscaler",
    ),
    _unschedulable(
        "no-room",
        _BEFORE
        + r"(insufficient (?!quota)\S|too many pods|cannot allocate all claims|max volume count|enough free storage|"
        r"free node resources|out of (cpu|memory)|no nodes available to schedule|no nodes? (is|are) (available|registered)|"
        r"0/0 nodes|not enough (room|resources|slots|cpus?|memory|gpus?)|no free (slot|gpu|device)|"
        r"\bgang\b|pod ?group|minAvailable|queue .{0,80}(overused|quota|insufficient))",
        category="unschedulable_capacity",
        verdict="wait",
        explanation=(
            "No node has room for the job now: {message}. The job starts when there is room. Nothing needs to be done."
        ),
    ),
    _unschedulable(
        "volume-unbindable",
        _BEFORE + r"available persistent volumes to bind",
        category="volume_unavailable",
        verdict="retry_free",
        grace="volume",
        explanation=(
            "No volume on any node fits the claim of the job: {message}. The job starts when the storage offers one."
        ),
        source="scheduler volumebinding plugin",
    ),
    _unschedulable(
        "nodes-closed",
        _BEFORE
        + r"available: (\d+ node\(s\) (were unschedulable|were not ready|had (untolerated )?taint \{node\.kubernetes\.io/"
        r"(not-ready|unreachable|unschedulable|network-unavailable|memory-pressure|disk-pressure|pid-pressure)[^}]*\}"
        r"(, that the pod didn't tolerate)?)[,.] ?)+(no new claims.*|still not schedulable.*|$|preemption)",
        category="unschedulable_capacity",
        verdict="wait",
        explanation="All nodes are closed or not ready: {message}. The job starts when a node comes back.",
        source="scheduler nodeunschedulable and tainttoleration plugins",
    ),
    _unschedulable(
        "no-node-matches",
        _BEFORE + r"(taint|toleration|tolerate|affinity|selector|topology|free ports|host ?port|didn't match|"
        r"didn't satisfy|node ?name|didn't have|"
        r"were unschedulable|volume node|no nodes? match|labels?|untolerated|available zones|zone)",
        category="unschedulable_constraints",
        verdict="fail_after_grace",
        grace="scheduling",
        explanation=(
            "No node matches what the job asks for: {message}. "
            "Compare its node selector, tolerations, ports and volumes with the nodes of the cluster."
        ),
    ),
    _unschedulable(
        "not-scheduled",
        _BEFORE,
        category="unschedulable_capacity",
        verdict="wait",
        explanation="The cluster has not found a node for the job yet: {message}.",
    ),
    _scheduler(
        "scheduler-error",
        reasons=("SchedulerError",),
        category="api_unavailable",
        verdict="retry_free",
        grace="infrastructure",
        explanation="The scheduler of the cluster had an internal error: {message}. It retries by itself.",
        source="core/v1 PodReasonSchedulerError",
    ),
)
