"""Rows for what the scheduler says about a pod.

The scheduler counts its reasons per node and lists them all. A node that only lacks room is a matter of capacity, which passes.
The job's own constraints are to blame only when no node merely lacks room. What the scheduler says of preemption at the end is
about other pods, or repeats the list: the patterns never see it (`event_meanings`).
"""

from kube_job_runner.domain.failures.rule import Rule, Ruling, fail_after_grace, retry_free, wait
from kube_job_runner.domain.failures.rules.rule_rows import by_reason, row


def _unschedulable(
    name: str, pattern: str, ruling: Ruling, explanation: str, source: str = "scheduler framework plugins, FitError"
) -> Rule:
    return row(name, pattern, ruling, explanation, source, where="pod.condition", reasons="Unschedulable")


RULES: tuple[Rule, ...] = (
    _unschedulable(
        "claim-missing",
        r"(persistentvolumeclaim|pvc).{0,300}(not found|is being deleted|does not exist|non-existent)|"
        r"(persistentvolume|pv\(s\)|storageclass\S*|storage class).{0,200}(not found|does not exist|non-existent)|"
        r"non-existent (pv|persistentvolume)",
        fail_after_grace("volume_missing", "volume"),
        "A volume that the job mounts does not exist: {message}. Create the claim, or correct its name.",
        "scheduler volumebinding and volumezone plugins",
    ),
    _unschedulable(
        "device-claim-missing",
        r"(resourceclaim|deviceclass|resource ?class)\S* .{0,200}(not found|does not exist)",
        fail_after_grace("config_missing", "config"),
        "A device claim or class that the job names does not exist: {message}. Create it, or correct the name.",
        "scheduler dynamicresources plugin",
    ),
    _unschedulable(
        "claim-unbound",
        r"unbound (immediate )?PersistentVolumeClaims|(binding volumes|VolumeBinding).{0,120}(timed? ?out|error|fail|context)|"
        r"waiting for (a volume|volume|external provisioner|first consumer|ephemeral volume controller)|"
        r"claim .{0,200}not bound",
        retry_free("volume_unavailable", "volume"),
        "A volume of the job is not ready yet: {message}. The cluster's storage has been asked for it. "
        "If it never appears, check the storage class of the claim.",
        "scheduler volumebinding plugin",
    ),
    _unschedulable(
        "machines-limited",
        r"exceed\w* limits for (nodepool|provisioner)|limits? (reached|exceeded) for (nodepool|provisioner)",
        wait("unschedulable_capacity"),
        "The cluster has reached its maximum size: {message}. The job starts when there is room. "
        "Whoever operates the cluster can raise that size.",
        "Karpenter scheduling errors",
    ),
    _unschedulable(
        "no-machine-fits",
        r"no instance type|no offering|no available instance|(incompatible with|did not tolerate).{0,200}(nodepool|provisioner)|"
        r"no (nodepool|provisioner)s? (matched|found|satisf)|wouldn't fit if a new node|"
        r"no node ?(group|pool)s? (can|could|would|fit)",
        fail_after_grace("unschedulable_impossible", "scheduling"),
        "No machine type that the cluster may add is large enough or suitable for the job: {message}. "
        "Ask for less, or correct its node selector and tolerations.",
        "Karpenter scheduling errors; cluster-autoscaler",
    ),
    _unschedulable(
        "no-room",
        r"(insufficient (?!quota)\S|too many pods|cannot allocate all claims|max volume count|enough free storage|"
        r"free node resources|out of (cpu|memory)|no nodes available to schedule|no nodes? (is|are) (available|registered)|"
        r"0/0 nodes|not enough (room|resources|slots|cpus?|memory|gpus?)|no free (slot|gpu|device)|"
        r"\bgang\b|pod ?group|minAvailable|queue .{0,80}(overused|quota|insufficient))",
        wait("unschedulable_capacity"),
        "No node has room for the job now: {message}. The job starts when there is room. "
        "If no node of the cluster is large enough for it, ask for less, or have a larger node added.",
    ),
    _unschedulable(
        "volume-unbindable",
        r"available persistent volumes to bind",
        retry_free("volume_unavailable", "volume"),
        "No volume on any node fits the claim of the job: {message}. The job starts when the storage offers one.",
        "scheduler volumebinding plugin",
    ),
    _unschedulable(
        "nodes-closed",
        r"available: (\d+ node\(s\) (were unschedulable|were not ready|had (untolerated )?taint \{node\.kubernetes\.io/"
        r"(not-ready|unreachable|unschedulable|network-unavailable|memory-pressure|disk-pressure|pid-pressure)[^}]*\}"
        r"(, that the pod didn't tolerate)?)[,.] ?)+(no new claims.*|still not schedulable.*|$|preemption)",
        wait("unschedulable_capacity"),
        "All nodes are closed or not ready: {message}. The job starts when a node comes back. "
        "Whoever operates the cluster can open or repair them.",
        "scheduler nodeunschedulable and tainttoleration plugins",
    ),
    _unschedulable(
        "no-node-matches",
        r"(taint|toleration|tolerate|affinity|selector|topology|free ports|host ?port|didn't match|didn't satisfy|node ?name|"
        r"didn't have|were unschedulable|volume node|no nodes? match|labels?|untolerated|available zones|zone)",
        fail_after_grace("unschedulable_constraints", "scheduling"),
        "No node matches what the job asks for: {message}. "
        "Compare its node selector, tolerations, ports and volumes with the nodes of the cluster.",
    ),
    _unschedulable(
        "not-scheduled",
        "",
        wait("unschedulable_capacity"),
        "The cluster has not found a node for the job yet: {message}.",
    ),
    by_reason(
        "scheduler-error",
        "SchedulerError",
        retry_free("api_unavailable", "infrastructure"),
        "The scheduler of the cluster had an internal error: {message}. It retries by itself.",
        "core/v1 PodReasonSchedulerError",
        where="pod.condition",
    ),
)
