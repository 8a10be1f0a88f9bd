"""Rows for Kubernetes Events that say what no status says: volumes, sandboxes, autoscalers.

Events are best effort. Where the status of a pod says more, an Event never decides.
"""

from __future__ import annotations

import functools

from kube_job_runner.domain.failures.rule import Rule, row
from kube_job_runner.domain.failures.rules.shared import NODE_FAULT, NOT_THE_JOB

_MOUNT = frozenset(
    {
        "FailedMount", "FailedAttachVolume", "FailedMapVolume", "FailedMountOnFilesystemMismatch", "FailedDetachVolume",
        "FailedBinding", "ProvisioningFailed", "VolumeMountFailed", "FailedAttach", "VolumeFailed", "VolumeResizeFailed",
    }
)  # fmt: skip
_SANDBOX = frozenset(
    {"FailedCreatePodSandBox", "FailedPodSandBoxStatus", "SandboxChanged", "NetworkNotReady", "FailedKillPod",
     "FailedCreatePodContainer", "CNIFailed"}
)  # fmt: skip
_SCALE_UP = frozenset({"NotTriggerScaleUp"})
_STORAGE = "kubelet volumemanager, attach-detach controller, CSI drivers"

_event = functools.partial(row, where="event")

RULES: tuple[Rule, ...] = (
    _event(
        "mount-cache-late",
        r"failed to sync (secret|configmap) cache|object .{0,200}not registered|no relationship found between node",
        reasons=_MOUNT,
        category="volume_unavailable",
        verdict="retry_free",
        grace="volume",
        explanation=(
            "Node {node} has not yet received a Secret or ConfigMap that the job mounts: {message}. "
            "The node retries by itself."
        ),
        source="kubelet configmap and secret managers",
    ),
    _event(
        "mount-config-missing",
        r"\b(secret|configmap|serviceaccount|service account)s? \S{0,300} ?not found|"
        r"references? non-?existent (secret|config)( map)? key|couldn't find key|"
        r"mount secrets store objects.{0,1500}(not ?found|\b404\b)|secretproviderclass.{0,200}not found",
        reasons=_MOUNT,
        category="config_missing",
        verdict="fail_after_grace",
        grace="config",
        explanation=(
            "The job mounts a Secret, a ConfigMap or a key that is missing: {message}. Create it, or correct the name."
        ),
        source="kubelet volume/secret, volume/configmap, volume/projected",
    ),
    _event(
        "mount-node-unknown",
        r"not attached to (the )?node|instance not found|instance id for node|node \S{1,300} (was )?not found",
        reasons=_MOUNT,
        category="volume_unavailable",
        verdict="retry_free",
        grace="volume",
        explanation="The storage does not find node {node}, or its disk there: {message}." + NOT_THE_JOB,
        source="CSI drivers of vSphere, Azure and AWS: NotFound that is said of the node, not of the volume",
    ),
    _event(
        "mount-missing",
        r"hostPath type check failed|"
        r"(persistentvolumeclaim|persistentvolume|pvc|storageclass\S*|claim)s? .{0,300}(not found|does not exist)|"
        r"no persistent volumes available|code = NotFound|error 404|volume_?id .{0,100}not found|"
        r"\b(volume|disk|share|filesystem|file system|snapshot) \S{1,200} (was |could )?(not found|not be found|"
        r"does not exist)|InvalidVolume|ResourceNotFound|DiskNotFound|FileSystemNotFound|"
        r"(source|path) .{0,200}does not exist",
        reasons=_MOUNT,
        category="volume_missing",
        verdict="fail_after_grace",
        grace="volume",
        explanation="A volume that the job mounts does not exist: {message}. Create it, or correct its name.",
        source=_STORAGE,
    ),
    _event(
        "mount-in-use",
        r"already used by pod|is in use by|already mounted by|volume is (busy|in use)",
        reasons=_MOUNT,
        category="volume_unavailable",
        verdict="wait",
        explanation="Another pod holds the volume of the job: {message}. The job starts when that pod has ended.",
        source="attach-detach controller, Multi-Attach error",
    ),
    _event(
        "mount-refused",
        r"access denied|permission denied|not authorized|unauthorized|AuthorizationFailed|AccessDenied|"
        r"wrong fs type|bad option|bad superblock|unknown filesystem|invalid (credentials|argument|mount option)|"
        r"mount error\((13|22)\)|reason given by server: no such file|must be specified",
        reasons=_MOUNT,
        category="volume_unavailable",
        verdict="fail_after_grace",
        grace="volume",
        explanation=(
            "The storage refuses a volume of the job: {message}. "
            "Its operator must correct the export, the rights or the options."
        ),
        source="mount(8), mount.nfs, mount.cifs; cloud storage APIs",
    ),
    _event(
        "mount-fault",
        reasons=_MOUNT,
        category="volume_unavailable",
        verdict="retry_free",
        grace="volume",
        explanation=(
            "Node {node} could not attach or mount a volume of the job yet: {message}. "
            "The node keeps trying, and a new attempt is free."
        ),
        source=_STORAGE,
    ),
    _event(
        "sandbox-fault",
        reasons=_SANDBOX,
        category="sandbox_failed",
        verdict="retry_free",
        grace="infrastructure",
        explanation="Node {node} could not set up the network or the sandbox of the pod: {message}." + NODE_FAULT,
        source="kubelet kuberuntime_sandbox.go; CNI plugins; containerd and CRI-O sandboxes",
    ),
    _event(
        "device-fault",
        reasons=("FailedPrepareDynamicResources", "FailedSync", "FailedPreStartHook", "FailedToCreateContainer"),
        category="runtime_error",
        verdict="retry_free",
        grace="infrastructure",
        explanation="Node {node} could not prepare the pod: {message}." + NODE_FAULT,
        source="kubelet cm/dra, pod_workers.go",
    ),
    _event(
        "scale-up-limited",
        r"scale-up:?\s*$|max (node group|cluster|total|pool)|limit (reached|exceeded)|backoff|"
        r"not ready for scale-?up|being (upgraded|scaled)|quota|out of resources|stockout",
        reasons=_SCALE_UP,
        category="unschedulable_capacity",
        verdict="wait",
        explanation="The cluster has reached its maximum size: {message}. The job starts when there is room.",
        source="cluster-autoscaler skipped reasons",
    ),
    _event(
        "scale-up-impossible",
        reasons=_SCALE_UP,
        category="unschedulable_impossible",
        verdict="fail_after_grace",
        grace="scheduling",
        explanation=(
            "No machine that the cluster may add would hold the job: {message}. "
            "Ask for less, or correct its node selector and tolerations."
        ),
        source="cluster-autoscaler status/eventing_scale_up_processor.go",
    ),
    _event(
        "scale-up-begun",
        r"scale.?up|nodeclaim|machine|node/",
        reasons=("TriggeredScaleUp", "Nominated", "Scheduled"),
        category="unschedulable_capacity",
        verdict="wait",
        explanation="The cluster adds a machine for the job: {message}.",
        source="cluster-autoscaler; Karpenter",
    ),
    _event(
        "node-not-ready",
        reasons=("NodeNotReady", "NodeControllerEviction"),
        category="node_lost",
        verdict="retry_free",
        grace="infrastructure",
        explanation="Contact with node {node} is lost: {message}. If it does not come back, a new attempt is free.",
        source="node lifecycle controller",
    ),
    _event(
        "taint-eviction",
        r"marking for deletion|deleting",
        reasons=("TaintManagerEviction",),
        category="disrupted",
        verdict="retry_free",
        explanation="The pod is moved off node {node} because of a taint: {message}. A new attempt is free.",
        source="taint eviction controller",
    ),
    _event(
        "oom-event",
        reasons=("OOMKilling",),
        category="out_of_memory",
        verdict="application",
        explanation=(
            "The kernel of node {node} killed a process that used too much memory: {message}. Raise resources.memory."
        ),
        source="node-problem-detector kernel monitor",
    ),
    _event(
        "system-oom",
        reasons=("SystemOOM",),
        category="node_pressure_evicted",
        verdict="retry_free",
        explanation="Node {node} as a whole ran out of memory: {message}. A new attempt is free.",
        source="kubelet oom_watcher",
    ),
)
