"""Rows for what the scheduler says of a pod, and for the conditions of a Job.

The scheduler counts its reasons per node and lists them all. A lack of room on one node that fits otherwise is capacity and
passes; only when no node lacks merely room are the job's own constraints to blame. What it says after `preemption:` repeats
itself and is not looked at.
"""

from __future__ import annotations

import functools

from kube_job_runner.domain.failures.rule import Rule, row, text

_BEFORE = r"^(?:(?!preemption:).)*?"
_UNSCHEDULABLE = frozenset({"Unschedulable"})
_SCHEDULER = "scheduler framework plugins, FitError"


_unschedulable = functools.partial(row, where="pod.condition", reasons=_UNSCHEDULABLE, source=_SCHEDULER)

_NO_ROOM = "No node has room for the job now: {message}. It starts when room appears; nothing needs to be done."

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
        explanation="A device claim or class that the job names does not exist: {message}. Create it, or correct the name.",
        source="scheduler dynamicresources plugin",
    ),
    _unschedulable(
        "claim-unbound",
        _BEFORE + r"unbound (immediate )?PersistentVolumeClaims|(binding volumes|"
        r"VolumeBinding).{0,120}(timed? ?out|error|fail|context)|"
        r"waiting for (a volume|volume|external provisioner|first consumer)|claim .{0,200}not bound",
        category="volume_unavailable",
        verdict="retry_free",
        grace="volume",
        explanation=(
            "A volume of the job is not ready yet: {message}. The cluster's storage is asked to make it; if it "
            "never does, "
            "look at the claim's storage class."
        ),
        source="scheduler volumebinding plugin",
    ),
    _unschedulable(
        "machines-limited",
        _BEFORE + r"exceed\w* limits for (nodepool|provisioner)|limits? (reached|exceeded) for (nodepool|provisioner)",
        category="unschedulable_capacity",
        verdict="wait",
        explanation="The cluster is as large as it may become: {message}. The job starts when room appears.",
        source="Karpenter scheduling errors",
    ),
    _unschedulable(
        "no-machine-fits",
        _BEFORE + r"no instance type|no offering|no available instance|(incompatible with|did not tolerate).{0,200}"
        r"(nodepool|provisioner)|no (nodepool|provisioner)s? (matched|found|satisf)|wouldn't fit if a new node|"
        r"no node ?(group|pool)s? (can|could|would|fit)",
        category="unschedulable_impossible",
        verdict="fail_after_grace",
        grace="scheduling",
        explanation=(
            "No kind of machine that the cluster may add can hold the job: {message}. Ask for less, or correct "
            "its node "
            "selector and tolerations."
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
        explanation=_NO_ROOM,
    ),
    _unschedulable(
        "volume-unbindable",
        _BEFORE + r"available persistent volumes to bind",
        category="volume_unavailable",
        verdict="retry_free",
        grace="volume",
        explanation="No volume on any node fits the claim of the job: {message}. It starts when the storage offers one.",
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
        explanation="All nodes are closed or not ready: {message}. The job starts when one comes back.",
        source="scheduler nodeunschedulable and tainttoleration plugins",
    ),
    _unschedulable(
        "no-node-matches",
        _BEFORE + r"(taint|toleration|tolerate|affinity|selector|topology|free ports|host ?port|didn't match|"
        r"didn't satisfy|node ?name|"
        r"didn't have|were unschedulable|volume node|no nodes? match|labels?|untolerated|available zones|zone)",
        category="unschedulable_constraints",
        verdict="fail_after_grace",
        grace="scheduling",
        explanation=(
            "No node matches what the job asks for: {message}. Check its node selector, tolerations, ports and volumes "
            "against the nodes of the cluster."
        ),
    ),
    _unschedulable(
        "not-scheduled",
        _BEFORE + r"",
        category="unschedulable_capacity",
        verdict="wait",
        explanation="The cluster has found no node for the job yet: {message}.",
    ),
    Rule(
        name="scheduler-error",
        where="pod.condition",
        reasons=frozenset({"SchedulerError"}),
        category="api_unavailable",
        verdict="retry_free",
        grace="infrastructure",
        explanation="The scheduler of the cluster had a fault of its own: {message}. It tries again by itself.",
        source="core/v1 PodReasonSchedulerError",
    ),
    Rule(
        name="disruption-other",
        where="pod.condition",
        pattern=text(
            r"^(?!containers with ).*\b(evict|preempt|delet|drain|taint|terminat|reclaim|descheduler?|disrupt|shut)(s|ed|ing|"
            r"ion|ting|e|ted|ments?)?\b"
        ),
        category="disrupted",
        verdict="retry_free",
        explanation=(
            "The pod was moved off node {node} ({reason}): {message}. Nothing of this is the job's fault; a new "
            "attempt is free."
        ),
        source="KEP-3329 DisruptionTarget, reasons of other controllers",
    ),
    # --- a Job that Kubernetes failed: its pod's own word comes first ---
    Rule(
        name="job-deadline",
        where="job.condition",
        reasons=frozenset({"DeadlineExceeded"}),
        category="deadline_exceeded",
        verdict="application",
        explanation=(
            "The cluster job was active for longer than its deadline ({message}). Raise the run timeout, or do less."
        ),
        source="batch/v1 types.go",
    ),
    Rule(
        name="job-policy-disruption",
        where="job.condition",
        reasons=frozenset({"PodFailurePolicy"}),
        pattern=text(r"has condition DisruptionTarget"),
        category="disrupted",
        verdict="retry_free",
        explanation=(
            "The pod was moved off its node, and the pod failure policy of the job ended it: {message}. A new "
            "attempt is free."
        ),
        source="job controller pod_failure_policy.go",
    ),
    Rule(
        name="job-policy-signal",
        where="job.condition",
        reasons=frozenset({"PodFailurePolicy"}),
        pattern=text(r"exit code (129|1[3-8]\d|19[0-2])\b"),
        category="killed_by_signal",
        verdict="application",
        explanation="A container was killed by a signal, and the pod failure policy of the job ended it: {message}.",
        source="job controller pod_failure_policy.go",
    ),
    Rule(
        name="job-policy",
        where="job.condition",
        reasons=frozenset({"PodFailurePolicy"}),
        category="application_exit",
        verdict="fail_now",
        explanation="The pod failure policy of the job forbids another try: {message}.",
        source="job controller pod_failure_policy.go",
    ),
    Rule(
        name="job-indexes",
        where="job.condition",
        reasons=frozenset({"MaxFailedIndexesExceeded", "FailedIndexes"}),
        category="application_exit",
        verdict="application",
        explanation="Too many indexes of the job failed: {message}. The logs of their pods say why.",
        source="batch/v1 types.go, indexed Jobs",
    ),
    Rule(
        name="job-backoff",
        where="job.condition",
        reasons=frozenset({"BackoffLimitExceeded"}),
        category="unknown",
        verdict="application",
        explanation="The pod of the job failed, and nothing more is known of it ({message}).",
        source="batch/v1 types.go: says nothing about the cause",
    ),
)
