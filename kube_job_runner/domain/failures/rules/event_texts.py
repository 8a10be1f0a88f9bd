"""Kubernetes Events: of which place one speaks, and rows for what is told nowhere else.

Most Events repeat what a status says, with a prefix: the same rows judge them. Volumes, sandboxes and autoscalers speak in
Events alone. Events are best effort; nothing here is ever the only way to a verdict on a pod that has a status.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator

from kube_job_runner.domain.failures.rule import Rule, Where, row

_COMBINED = re.compile(r"^\(combined from similar events\): ")
_CREATING = re.compile(r"^Error creating: ")
_PULL = re.compile(r'^Failed to (?:re-?)?pull image "[^"]*": ?', re.IGNORECASE)
_PULL_STATES = re.compile(
    r"^Error: (ErrImagePull|ImagePullBackOff|InvalidImageName|ErrImageNeverPull|ImageInspectError|"
    r"SignatureValidationFailed|RegistryUnavailable)\b:? ?"
)
_ERROR = re.compile(r"^Error: ")
_HOOK = re.compile(r"^Internal (PreCreate|PreStart)Container hook failed: ?")
_SAME_ELSEWHERE: dict[str, tuple[Where, str]] = {
    "ErrImageNeverPull": ("container.waiting", "ErrImageNeverPull"),
    "FailedScheduling": ("pod.condition", "Unschedulable"),
    "Evicted": ("pod.status", "Evicted"),
    "Preempted": ("pod.status", "Preempted"),
    "Preempting": ("pod.status", "Preempting"),
    "FailedPostStartHook": ("container.waiting", "PostStartHookError"),
    "BackoffLimitExceeded": ("job.condition", "BackoffLimitExceeded"),
    "DeadlineExceeded": ("job.condition", "DeadlineExceeded"),
    "PodFailurePolicy": ("job.condition", "PodFailurePolicy"),
    "MaxFailedIndexesExceeded": ("job.condition", "MaxFailedIndexesExceeded"),
    "UnexpectedAdmissionError": ("pod.status", "UnexpectedAdmissionError"),
    "TopologyAffinityError": ("pod.status", "TopologyAffinityError"),
    "NodeShutdown": ("pod.status", "NodeShutdown"),
    "NodeAffinity": ("pod.status", "NodeAffinity"),
    "NodeLost": ("pod.status", "NodeLost"),
}


def meanings(where: Where, reason: str, message: str) -> Iterator[tuple[Where, str, str]]:
    """Yield the signals, as (where, reason, message), that a signal stands for: itself, and what its text repeats."""
    if where == "container.terminated":
        yield from _ended(reason, message)
        return
    if where != "event":
        yield where, reason, message
        return
    message = _COMBINED.sub("", message)
    if reason in _SAME_ELSEWHERE:
        yield *_SAME_ELSEWHERE[reason], message
    elif reason == "FailedCreate":
        yield "api", "", _CREATING.sub("", message)
    elif reason == "InspectFailed":
        invalid = "invalid reference" in message or "couldn't parse" in message
        yield "container.waiting", "InvalidImageName" if invalid else "ImageInspectError", message
    elif reason == "BackOff":
        restarting = "restarting" in message
        yield "container.waiting", "CrashLoopBackOff" if restarting else "ImagePullBackOff", message
    elif reason == "Failed":
        yield from _failed(message)
    yield "event", reason, message


def _failed(message: str) -> Iterator[tuple[Where, str, str]]:
    pull = _PULL.match(message)
    state = _PULL_STATES.match(message)
    hook = _HOOK.match(message)
    if pull:
        yield "container.waiting", "ErrImagePull", message[pull.end() :]
    elif state:
        yield "container.waiting", state[1], message[state.end() :]
    elif hook:
        yield "container.waiting", f"{hook[1]}HookError", message[hook.end() :]
    elif _ERROR.match(message):
        yield "container.waiting", "CreateContainerError", _ERROR.sub("", message)


def _ended(reason: str, message: str) -> Iterator[tuple[Where, str, str]]:
    # A runtime that puts its own error under the reason `Error` means what others call `StartError`.
    if reason == "Error" and re.match(
        r"(failed to (create|start) (containerd |shim )?(task|container)|OCI runtime \w+ failed)", message
    ):
        yield "container.terminated", "StartError", message
    yield "container.terminated", reason, message


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


_event = functools.partial(row, where="event")

_STORAGE = "kubelet volumemanager, attach-detach controller, CSI drivers"

RULES: tuple[Rule, ...] = (
    _event(
        "mount-cache-late",
        r"failed to sync (secret|configmap) cache|object .{0,200}not registered|no relationship found between node",
        reasons=_MOUNT,
        category="volume_unavailable",
        verdict="retry_free",
        grace="volume",
        explanation=(
            "Node {node} has not yet heard of a Secret or ConfigMap that the job mounts: {message}. It mends itself."
        ),
        source="kubelet configmap and secret managers",
    ),
    _event(
        "mount-config-missing",
        r"\b(secret|configmap|serviceaccount|service account)s? \S{0,300} ?not found|"
        r"references? non-?existent (secret|config)"
        r"( map)? key|couldn't find key|"
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
        explanation=(
            "The storage does not see node {node}, or its disk there: {message}. This is not the job's fault; a new "
            "attempt is free."
        ),
        source="CSI drivers of vSphere, Azure and AWS: NotFound that is said of the node, not of the volume",
    ),
    _event(
        "mount-missing",
        r"hostPath type check failed|(persistentvolumeclaim|persistentvolume|pvc|storageclass\S*|claim)s? .{0,300}"
        r"(not found|does not exist)|no persistent volumes available|code = NotFound|error 404|volume_?id .{0,100}not found|"
        r"\b(volume|disk|share|filesystem|file system|snapshot) \S{1,200} (was |could )?(not found|not be found|does not "
        r"exist)|InvalidVolume|ResourceNotFound|DiskNotFound|FileSystemNotFound|(source|path) .{0,200}does not exist",
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
        explanation="Another pod holds the volume of the job: {message}. The job starts when that one has ended.",
        source="attach-detach controller, Multi-Attach error",
    ),
    _event(
        "mount-refused",
        r"access denied|permission denied|not authorized|unauthorized|AuthorizationFailed|"
        r"AccessDenied|wrong fs type|bad option|"
        r"bad superblock|unknown filesystem|invalid (credentials|argument|mount option)|mount error\((13|22)\)|"
        r"reason given by server: no such file|must be specified",
        reasons=_MOUNT,
        category="volume_unavailable",
        verdict="fail_after_grace",
        grace="volume",
        explanation=(
            "The storage refuses a volume of the job: {message}. Its operator must mend the export, the rights or "
            "the options."
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
            "Node {node} could not attach or mount a volume of the job yet: {message}. It keeps trying; a new "
            "attempt is free."
        ),
        source=_STORAGE,
    ),
    _event(
        "sandbox-fault",
        reasons=_SANDBOX,
        category="sandbox_failed",
        verdict="retry_free",
        grace="infrastructure",
        explanation=(
            "Node {node} could not set up the network or the sandbox of the pod: {message}. This is the node's "
            "fault; a new "
            "attempt is free."
        ),
        source="kubelet kuberuntime_sandbox.go; CNI plugins; containerd and CRI-O sandboxes",
    ),
    _event(
        "device-fault",
        reasons=frozenset(
            {"FailedPrepareDynamicResources", "FailedSync", "FailedPreStartHook", "FailedToCreateContainer"}
        ),
        category="runtime_error",
        verdict="retry_free",
        grace="infrastructure",
        explanation="Node {node} could not prepare the pod: {message}. This is the node's fault; a new attempt is free.",
        source="kubelet cm/dra, pod_workers.go",
    ),
    _event(
        "scale-up-limited",
        r"scale-up:?\s*$|max (node group|cluster|total|pool)|limit (reached|exceeded)|backoff|"
        r"not ready for scale-?up|being (upgraded|scaled)|"
        r"quota|out of resources|stockout",
        reasons=_SCALE_UP,
        category="unschedulable_capacity",
        verdict="wait",
        explanation="The cluster is as large as it may become: {message}. The job starts when room appears.",
        source="cluster-autoscaler skipped reasons",
    ),
    _event(
        "scale-up-impossible",
        reasons=_SCALE_UP,
        category="unschedulable_impossible",
        verdict="fail_after_grace",
        grace="scheduling",
        explanation=(
            "No machine that the cluster may add would hold the job: {message}. Ask for less, or correct its "
            "node selector and "
            "tolerations."
        ),
        source="cluster-autoscaler status/eventing_scale_up_processor.go",
    ),
    _event(
        "scale-up-begun",
        r"scale.?up|nodeclaim|machine|node/",
        reasons=frozenset({"TriggeredScaleUp", "Nominated", "Scheduled"}),
        category="unschedulable_capacity",
        verdict="wait",
        explanation="The cluster adds a machine for the job: {message}.",
        source="cluster-autoscaler; Karpenter",
    ),
    _event(
        "node-not-ready",
        reasons=frozenset({"NodeNotReady", "NodeControllerEviction"}),
        category="node_lost",
        verdict="retry_free",
        grace="infrastructure",
        explanation="Contact with node {node} is lost: {message}. If it does not come back, a new attempt is free.",
        source="node lifecycle controller",
    ),
    _event(
        "taint-eviction",
        r"marking for deletion|deleting",
        reasons=frozenset({"TaintManagerEviction"}),
        category="disrupted",
        verdict="retry_free",
        explanation="The pod is moved off node {node} because of a taint: {message}. A new attempt is free.",
        source="taint eviction controller",
    ),
    _event(
        "oom-event",
        reasons=frozenset({"OOMKilling"}),
        category="out_of_memory",
        verdict="application",
        explanation=(
            "The kernel of node {node} killed a process that used too much memory: {message}. Raise resources.memory."
        ),
        source="node-problem-detector kernel monitor",
    ),
    _event(
        "system-oom",
        reasons=frozenset({"SystemOOM"}),
        category="node_pressure_evicted",
        verdict="retry_free",
        explanation="Node {node} as a whole ran out of memory: {message}. A new attempt is free.",
        source="kubelet oom_watcher",
    ),
)
