"""Rows for Kubernetes Events that say what no status says: volumes, sandboxes, autoscalers.

Events are best effort. Where the status of a pod says more, an Event never decides.
"""

import functools

from kube_job_runner.domain.failures.rule import Rule, application, fail_after_grace, retry_free, wait
from kube_job_runner.domain.failures.rules.rule_rows import NODE_FAULT, NOT_THE_JOB, by_reason, row

_MOUNT = (
    "FailedMount FailedAttachVolume FailedMapVolume FailedMountOnFilesystemMismatch FailedDetachVolume FailedBinding "
    "ProvisioningFailed VolumeMountFailed FailedAttach VolumeFailed VolumeResizeFailed"
)
_SANDBOX = (
    "FailedCreatePodSandBox FailedPodSandBoxStatus SandboxChanged NetworkNotReady FailedKillPod FailedCreatePodContainer "
    "CNIFailed"
)
_STORAGE = "kubelet volumemanager, attach-detach controller, CSI drivers"

_event = functools.partial(by_reason, where="event")
_event_text = functools.partial(row, where="event")
_mount = functools.partial(_event_text, reasons=_MOUNT)

RULES: tuple[Rule, ...] = (
    _mount(
        "mount-cache-late",
        r"failed to sync (secret|configmap) cache|object .{0,200}not registered|no relationship found between node",
        retry_free("volume_unavailable", "volume"),
        "Node {node} has not yet received a Secret or ConfigMap that the job mounts: {message}. The node retries by itself.",
        "kubelet configmap and secret managers",
    ),
    _mount(
        "mount-config-missing",
        r"\b(secret|configmap|serviceaccount|service account)s? \S{0,300} ?not found|"
        r"references? non-?existent (secret|config)( map)? key|couldn't find key|"
        r"mount secrets store objects.{0,1500}(not ?found|\b404\b)|secretproviderclass.{0,200}not found",
        fail_after_grace("config_missing", "config"),
        "The job mounts a Secret, a ConfigMap or a key that is missing: {message}. Create it, or correct the name.",
        "kubelet volume/secret, volume/configmap, volume/projected",
    ),
    _mount(
        "mount-node-unknown",
        r"not attached to (the )?node|instance not found|instance id for node|node \S{1,300} (was )?not found",
        retry_free("volume_unavailable", "volume"),
        "The storage does not find node {node}, or its disk there: {message}." + NOT_THE_JOB,
        "CSI drivers of vSphere, Azure and AWS: NotFound that is said of the node, not of the volume",
    ),
    _mount(
        "mount-missing",
        r"hostPath type check failed|"
        r"(persistentvolumeclaim|persistentvolume|pvc|storageclass\S*|claim)s? .{0,300}(not found|does not exist)|"
        r"no persistent volumes available|code = NotFound|error 404|volume_?id .{0,100}not found|"
        r"\b(volume|disk|share|filesystem|file system|snapshot) \S{1,200} (was |could )?(not found|not be found|does not exist)|"
        r"InvalidVolume|ResourceNotFound|DiskNotFound|FileSystemNotFound|(source|path) .{0,200}does not exist",
        fail_after_grace("volume_missing", "volume"),
        "A volume that the job mounts does not exist: {message}. Create it, or correct its name.",
        _STORAGE,
    ),
    _mount(
        "mount-in-use",
        r"already used by pod|is in use by|already mounted by|volume is (busy|in use)",
        wait("volume_unavailable"),
        "Another pod holds the volume of the job: {message}. The job starts when that pod has ended.",
        "attach-detach controller, Multi-Attach error",
    ),
    _mount(
        "mount-refused",
        r"access denied|permission denied|not authorized|unauthorized|AuthorizationFailed|AccessDenied|wrong fs type|"
        r"bad option|bad superblock|unknown filesystem|invalid (credentials|argument|mount option)|"
        r"mount error\((13|22)\)|reason given by server: no such file|must be specified",
        fail_after_grace("volume_unavailable", "volume"),
        "The storage refuses a volume of the job: {message}. Its operator must correct the export, the rights or the options.",
        "mount(8), mount.nfs, mount.cifs; cloud storage APIs",
    ),
    _mount(
        "mount-fault",
        "",
        retry_free("volume_unavailable", "volume"),
        "Node {node} could not attach or mount a volume of the job yet: {message}. "
        "The node keeps trying, and a new attempt is free.",
        _STORAGE,
    ),
    _event(
        "sandbox-fault",
        _SANDBOX,
        retry_free("sandbox_failed", "infrastructure"),
        "Node {node} could not set up the network or the sandbox of the pod: {message}." + NODE_FAULT,
        "kubelet kuberuntime_sandbox.go; CNI plugins; containerd and CRI-O sandboxes",
    ),
    _event(
        "device-fault",
        "FailedPrepareDynamicResources FailedSync FailedPreStartHook FailedToCreateContainer",
        retry_free("runtime_error", "infrastructure"),
        "Node {node} could not prepare the pod: {message}." + NODE_FAULT,
        "kubelet cm/dra, pod_workers.go",
    ),
    _event_text(
        "scale-up-limited",
        r"scale-up:?\s*$|max (node group|cluster|total|pool)|limit (reached|exceeded)|backoff|not ready for scale-?up|"
        r"being (upgraded|scaled)|quota|out of resources|stockout",
        wait("unschedulable_capacity"),
        "The cluster has reached its maximum size: {message}. The job starts when there is room. "
        "Whoever operates the cluster can raise that size.",
        "cluster-autoscaler skipped reasons",
        reasons="NotTriggerScaleUp",
    ),
    _event(
        "scale-up-impossible",
        "NotTriggerScaleUp",
        fail_after_grace("unschedulable_impossible", "scheduling"),
        "No machine that the cluster may add would hold the job: {message}. "
        "Ask for less, or correct its node selector and tolerations.",
        "cluster-autoscaler status/eventing_scale_up_processor.go",
    ),
    _event_text(
        "scale-up-begun",
        r"scale.?up|nodeclaim|machine|node/",
        wait("unschedulable_capacity"),
        "The cluster adds a machine for the job: {message}.",
        "cluster-autoscaler; Karpenter",
        reasons="TriggeredScaleUp Nominated Scheduled",
    ),
    _event(
        "node-not-ready",
        "NodeNotReady NodeControllerEviction",
        retry_free("node_lost", "infrastructure"),
        "Contact with node {node} is lost: {message}. If it does not come back, a new attempt is free.",
        "node lifecycle controller",
    ),
    _event_text(
        "taint-eviction",
        r"marking for deletion|deleting",
        retry_free("disrupted"),
        "The pod is moved off node {node} because of a taint: {message}. A new attempt is free.",
        "taint eviction controller",
        reasons="TaintManagerEviction",
    ),
    _event(
        "oom-event",
        "OOMKilling",
        application("out_of_memory"),
        "The kernel of node {node} killed a process that used too much memory: {message}. Raise resources.memory.",
        "node-problem-detector kernel monitor",
    ),
    _event(
        "system-oom",
        "SystemOOM",
        retry_free("node_pressure_evicted"),
        "Node {node} as a whole ran out of memory: {message}. A new attempt is free.",
        "kubelet oom_watcher",
    ),
)
