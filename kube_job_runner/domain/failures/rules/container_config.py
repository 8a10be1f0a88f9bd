"""Rows for containers that cannot be created because of their configuration, security settings, resources or volumes.

These rows come before `container_launch`: a missing profile or mount also ends in "no such file or directory".
"""

import functools

from kube_job_runner.domain.failures.rule import Rule, application, fail_after_grace, fail_now, retry_free
from kube_job_runner.domain.failures.rules.rule_rows import NODE_FAULT, row

MAKE = "CreateContainerConfigError CreateContainerError RunContainerError"
make = functools.partial(row, where="container.waiting", reasons=MAKE)


def node_fault(name: str, pattern: str, explanation: str, source: str) -> Rule:
    """Return the row of a fault that is the node's own."""
    return make(name, pattern, retry_free("runtime_error", "infrastructure"), explanation + NODE_FAULT, source)


RULES: tuple[Rule, ...] = (
    make(
        "config-cache-late",
        r"failed to sync (secret|configmap) cache|have not yet been read at least once|"
        r"informer.{0,40}not.{0,10}synced|no relationship found between node",
        retry_free("runtime_error", "infrastructure"),
        "Node {node} has not yet received the configuration of container {container}: {message}. The node retries by itself.",
        "kubelet kubelet_pods.go, configmap and secret managers; node authorizer",
    ),
    make(
        "config-missing",
        r"\b(secret|configmap)s? \S{0,300} ?not found|couldn't find key|references? non-?existent (secret|config)( map)? key|"
        r"(secret|configmap) .{0,200}(does not exist|doesn't exist)|serviceaccounts? \S{1,300} not found",
        fail_after_grace("config_missing", "config"),
        "Container {container} refers to an object that is missing: {message}. "
        "Create it in the namespace of the job, or correct the name.",
        "kubelet kubelet_pods.go, makeEnvironmentVariables",
    ),
    make(
        "runs-as-root",
        r"runAsNonRoot|run as root|RunAsUser.{0,60}(root|forbid)|non-root",
        fail_now("security_policy"),
        "The platform forbids root, and container {container} would run as root, or its image names no user: "
        "{message}. Give the image a numeric user, or set one.",
        "kubelet security_context_others.go, verifyRunAsNonRoot",
    ),
    node_fault(
        "profile-tool",
        r"apparmor_parser (version|resolves)|get apparmor_parser",
        "Node {node} cannot use its own AppArmor tools for container {container}: {message}.",
        "containerd contrib/apparmor",
    ),
    make(
        "profile-unnamed",
        r"empty localhost \w+ profile",
        fail_now("security_policy"),
        "The security profile of container {container} has no name: {message}. Name it, or choose another profile.",
        "containerd internal/cri spec opts",
    ),
    make(
        "security-profile-missing",
        r"apparmor|seccomp|selinux|localhost profile",
        fail_after_grace("security_policy", "config"),
        "Node {node} cannot apply the security profile of container {container}: {message}. "
        "Load the profile onto the nodes, or choose another profile.",
        "containerd internal/cri spec opts; runc apparmor and seccomp; kubelet seccomp profile paths",
    ),
    make(
        "memory-floor",
        r"init was OOM-?killed|memory limit too low\?|unable to set memory limit to|OOM.?killed",
        application("out_of_memory"),
        "Container {container} ran out of memory before its command began: {message}. Raise its memory limit (resources.memory).",
        "runc process_linux.go, OOM at init",
    ),
    make(
        "memory-limit-invalid",
        r"minimum memory limit|memory limit .{0,80}(too low|at least)|set memory limit .{0,80}too (low|small)|"
        r"cpu.{0,40}(quota|shares|period).{0,40}(invalid|too (low|small)|out of range)|invalid (cpu|memory)",
        fail_now("config_invalid"),
        "The resources of container {container} are below the minimum of the runtime: {message}. Raise them.",
        "moby daemon/daemon_unix.go; CRI-O minimum memory",
    ),
    make(
        "subpath",
        r"(create|prepare|make|clean) subPath|subPath .{0,60}volumeMount",
        retry_free("volume_unavailable", "volume"),
        "Node {node} could not prepare a directory on a volume of container {container}: {message}. "
        "The volume may be broken or read-only. A new attempt is free.",
        "kubelet kubelet_pods.go, makeMounts; details are hidden on purpose",
    ),
    make(
        "volume-not-mounted",
        r"cannot find volume \S+ to mount|hasn't been mounted|unmounted volumes|stale (NFS )?file handle|"
        r"transport endpoint is not connected|mkdir \"?/\S+ file exists|"
        r"/volumes/kubernetes\.io~\S+ .{0,300}(host is down|input/output error|no route to host|permission denied|timed out)",
        retry_free("volume_unavailable", "volume"),
        "A volume of container {container} is not ready on node {node}: {message}. A new attempt is free.",
        "kubelet kubelet_pods.go, makeMounts; kernel ESTALE and ENOTCONN",
    ),
    node_fault(
        "snapshot-lost",
        r"^(?!.*no space left on device).*(failed to stat parent|/snapshots/\d+/\S* no such file|unpacking image|"
        r"failed to extract layer|content digest \S+ not found|error creating overlay mount|"
        r"does not match provided manifest digest)",
        "Node {node} lost a part of the image of container {container}: {message}.",
        "containerd snapshots and content store; containers/storage; moby overlay2",
    ),
    make(
        "host-path-missing",
        r"bind source path does not exist|hostPath type check failed|failed to stat \S+: stat|"
        r"failed to resolve symlink|source path .{0,200}(does not exist|not found)|"
        r"\" spec: (l?stat|open) (?!/dev/)\S+: no such file|failed to mkdir \S+: mkdir|failed to evaluate symlinks",
        fail_after_grace("volume_missing", "config"),
        "Container {container} mounts a directory that does not exist on node {node}: {message}. Create it, or correct the path.",
        "containerd internal/cri WithMounts; CRI-O addOCIBindMounts; moby volume/mounts validate",
    ),
    make(
        "mount-source-missing",
        r"^\s*(failed to )?(l?stat|open) \S+: .{0,80}no such file",
        fail_after_grace("volume_missing", "config"),
        "A volume of container {container} points to a directory that does not exist on node {node}: {message}. "
        "Create it, or correct the path.",
        "kubelet kubelet_pods.go, makeMounts: the command is not looked at yet",
        reasons="CreateContainerConfigError",
    ),
)
