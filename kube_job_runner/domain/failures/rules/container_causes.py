"""Causes for which a container cannot be made or started: its configuration, its command, its mounts, the runtime.

Texts are those of the kubelet, and of runc, crun, gVisor and Kata below containerd, CRI-O and cri-dockerd. The order matters:
an AppArmor profile or a missing runtime, too, ends in "no such file or directory".
"""

from __future__ import annotations

import functools

from kube_job_runner.domain.failures.rule import Rule, row

MAKE = frozenset({"CreateContainerConfigError", "CreateContainerError", "RunContainerError"})


_make = functools.partial(row, where="container.waiting", reasons=MAKE)
_node_fault = functools.partial(_make, category="runtime_error", verdict="retry_free", grace="infrastructure")

OCI = "runc libcontainer, crun and gVisor error texts"
_CONFIG_MISSING = (
    "Container {container} refers to something that is missing: {message}. Create it in the namespace of the "
    "job, or correct "
    "the name."
)
NODE_RETRY = "This is the node's fault; a new attempt is free."

CAUSES: tuple[Rule, ...] = (
    _node_fault(
        "config-cache-late",
        r"failed to sync (secret|configmap) cache|have not yet been read at least once|informer.{0,40}not.{0,10}synced|"
        r"no relationship found between node",
        explanation=(
            "Node {node} has not yet heard of the configuration of container {container}: {message}. It mends itself."
        ),
        source="kubelet kubelet_pods.go, configmap and secret managers; node authorizer",
    ),
    _make(
        "config-missing",
        r"\b(secret|configmap)s? \S{0,300} ?not found|couldn't find key|"
        r"references? non-?existent (secret|config)( map)? key|"
        r"(secret|configmap) .{0,200}(does not exist|doesn't exist)|serviceaccounts? \S{1,300} not found",
        category="config_missing",
        verdict="fail_after_grace",
        grace="config",
        explanation=_CONFIG_MISSING,
        source="kubelet kubelet_pods.go, makeEnvironmentVariables",
    ),
    _make(
        "runs-as-root",
        r"runAsNonRoot|run as root|RunAsUser.{0,60}(root|forbid)|non-root",
        category="security_policy",
        verdict="fail_now",
        explanation=(
            "Container {container} would run as root, or its image does not say as whom, and the platform "
            "forbids that: "
            "{message}. Give the image a numeric user, or set one."
        ),
        source="kubelet security_context_others.go, verifyRunAsNonRoot",
    ),
    _node_fault(
        "profile-tool",
        r"apparmor_parser (version|resolves)|get apparmor_parser",
        explanation="Node {node} cannot use its own AppArmor tools for container {container}: {message}. " + NODE_RETRY,
        source="containerd contrib/apparmor",
    ),
    _make(
        "profile-unnamed",
        r"empty localhost \w+ profile",
        category="security_policy",
        verdict="fail_now",
        explanation="The security profile of container {container} has no name: {message}. Name it, or choose another.",
        source="containerd internal/cri spec opts",
    ),
    _make(
        "security-profile-missing",
        r"apparmor|seccomp|selinux|localhost profile",
        category="security_policy",
        verdict="fail_after_grace",
        grace="config",
        explanation=(
            "Node {node} cannot apply the security profile of container {container}: {message}. Load the "
            "profile onto the "
            "nodes, or choose another."
        ),
        source="containerd internal/cri spec opts; runc apparmor and seccomp; kubelet seccomp profile paths",
    ),
    _make(
        "memory-floor",
        r"init was OOM-?killed|memory limit too low\?|unable to set memory limit to|OOM.?killed",
        category="out_of_memory",
        verdict="application",
        explanation=(
            "Container {container} ran out of memory before its command began: {message}. Raise its memory limit "
            "(resources.memory)."
        ),
        source="runc process_linux.go, OOM at init",
    ),
    _make(
        "memory-limit-invalid",
        r"minimum memory limit|memory limit .{0,80}(too low|at least)|set memory limit .{0,80}too (low|small)|"
        r"cpu.{0,40}(quota|shares|period).{0,40}(invalid|too (low|small)|out of range)|invalid (cpu|memory)",
        category="config_invalid",
        verdict="fail_now",
        explanation="The resources of container {container} are below what the runtime can give: {message}. Raise them.",
        source="moby daemon/daemon_unix.go; CRI-O minimum memory",
    ),
    _make(
        "subpath",
        r"(create|prepare|make|clean) subPath|subPath .{0,60}volumeMount",
        category="volume_unavailable",
        verdict="retry_free",
        grace="volume",
        explanation=(
            "Node {node} could not prepare a directory on a volume of container {container}: {message}. The "
            "volume may be "
            "broken or may not be writable; a new attempt is free."
        ),
        source="kubelet kubelet_pods.go, makeMounts; details are hidden on purpose",
    ),
    _make(
        "volume-not-mounted",
        r"cannot find volume \S+ to mount|hasn't been mounted|unmounted volumes|stale (NFS )?file handle|"
        r"transport endpoint is not connected|mkdir \"?/\S+ file exists|"
        r"/volumes/kubernetes\.io~\S+ .{0,300}(host is down|input/output error|no route to host|permission denied|timed out)",
        category="volume_unavailable",
        verdict="retry_free",
        grace="volume",
        explanation="A volume of container {container} is not ready on node {node}: {message}. A new attempt is free.",
        source="kubelet kubelet_pods.go, makeMounts; kernel ESTALE and ENOTCONN",
    ),
    _node_fault(
        "snapshot-lost",
        r"^(?!.*no space left on device).*(failed to stat parent|/snapshots/\d+/\S* no such file|unpacking image|"
        r"failed to extract layer|content digest \S+ not found|error creating overlay mount|"
        r"does not match provided manifest digest)",
        explanation="Node {node} lost a part of the image of container {container}: {message}. " + NODE_RETRY,
        source="containerd snapshots and content store; containers/storage; moby overlay2",
    ),
    _make(
        "host-path-missing",
        r"bind source path does not exist|hostPath type check failed|failed to stat \S+: stat|failed to resolve symlink|"
        r"source path .{0,200}(does not exist|not found)|"
        r"\" spec: (l?stat|open) (?!/dev/)\S+: no such file|failed to mkdir \S+: mkdir|failed to evaluate symlinks",
        category="volume_missing",
        verdict="fail_after_grace",
        grace="config",
        explanation=(
            "A directory of node {node} that container {container} mounts is not there: {message}. Create it, or "
            "correct the path."
        ),
        source="containerd internal/cri WithMounts; CRI-O addOCIBindMounts; moby volume/mounts validate",
    ),
    _make(
        "mount-source-missing",
        r"^\s*(failed to )?(l?stat|open) \S+: .{0,80}no such file",
        reasons=frozenset({"CreateContainerConfigError"}),
        category="volume_missing",
        verdict="fail_after_grace",
        grace="config",
        explanation=(
            "A directory of node {node} that a volume of container {container} stands for is not there: {message}. "
            "Create it, or correct the path."
        ),
        source="kubelet kubelet_pods.go, makeMounts: the command is not looked at yet",
    ),
    _make(
        "command-none",
        r"no command specified|no entrypoint|args must not be empty|process\.args|CMD .{0,20}ENTRYPOINT",
        category="config_invalid",
        verdict="fail_now",
        explanation="Neither the job nor its image names a command for container {container}: {message}. Set `command`.",
        source="containerd internal/cri WithProcessArgs; moby",
    ),
    _node_fault(
        "gpu-hook",
        r"nvidia-container|nvidia-ctk|\bCDI\b|error running (pre\w+ )?hook|running (prestart|createruntime|\w+) hook|"
        r"could not select device driver|no-gpu-has|failed to initialize NVML|libnvidia|gathering device information|"
        r"error gathering device|no such device|(l?stat|open) /dev/\S+: no such file",
        explanation="Node {node} could not give container {container} its device: {message}. " + NODE_RETRY,
        source="NVIDIA container toolkit; runc hooks; containerd and moby CDI",
    ),
    _make(
        "sandbox-gone",
        r"cannot join network of a non.?running container|cannot join network namespace|"
        r"sandbox.{0,120}(not (found|running|ready)|"
        r"is not|not in ready|terminated|stopped)|failed to (get|find) sandbox|failed to reserve sandbox|"
        r"(network|ipc|uts) namespace.{0,80}no such file|setns|/proc/\d+/ns/(net|ipc|uts|pid)",
        category="sandbox_failed",
        verdict="retry_free",
        grace="infrastructure",
        explanation="The pod's own environment (sandbox) on node {node} is gone: {message}. " + NODE_RETRY,
        source="moby daemon/container_operations.go; containerd internal/cri container_create.go",
    ),
    _node_fault(
        "name-taken",
        r"failed to reserve container name|name is reserved|is reserved for|"
        r"name .{0,300}already in use|"
        r"the container name .{0,300}is in use",
        explanation="The runtime of node {node} still holds an earlier try at container {container}: {message}. "
        + NODE_RETRY,
        source="containerd internal/cri container_create.go; CRI-O ctrNameIndex; moby names",
    ),
    _make(
        "working-directory",
        r"chdir to cwd|cwd must|working directory|workingDir|failed to create workdir|mkdir .{0,200}workdir",
        category="config_invalid",
        verdict="fail_now",
        explanation=(
            "The working directory of container {container} does not exist, or may not be entered: {message}. "
            "Correct `working_dir`."
        ),
        source=OCI,
    ),
    _make(
        "arguments-too-long",
        r"argument list too long",
        category="config_invalid",
        verdict="fail_now",
        explanation=(
            "The arguments and the environment of container {container} are over the limit of the kernel (128 "
            "KiB for one "
            "string): {message}. Pass large values in a file."
        ),
        source="kernel E2BIG through runc and crun",
    ),
    _make(
        "architecture",
        r"exec format error",
        category="wrong_architecture",
        verdict="fail_now",
        explanation=(
            "The program of container {container} is built for another CPU type, or is a script without `#!`: "
            "{message}. Use "
            "an image for the CPU type of node {node}."
        ),
        source="kernel ENOEXEC through runc and crun",
    ),
    _make(
        "windows-version",
        r"operating system does not match the host",
        category="image_platform",
        verdict="fail_after_grace",
        grace="runtime",
        explanation=(
            "The image of container {container} is built for another version of Windows than that of node {node}: "
            "{message}. Use an image of the node's version, or nodes of the image's."
        ),
        source="hcsshim internal/hcs, HCS_E_IMAGE_MISMATCH",
    ),
    _node_fault(
        "runtime-missing",
        r"fork/exec |unable to retrieve OCI runtime error|no runtime for |"
        r"runtime handler .{0,60}(not found|not configured|not supported)",
        explanation="Node {node} lacks the runtime that container {container} needs: {message}. " + NODE_RETRY,
        source="containerd runtime shim",
    ),
    _make(
        "command-not-found",
        r"executable file .{0,400}not found|executable .{0,300}(not found|does not exist)|not found in \$PATH|"
        r"exec:? .{0,400}(no such file or directory|not found|not a directory)|exec user process caused.{0,20}no such file|"
        r"error finding executable|failed to find (the )?(executable|binary)|"
        r"cannot find the (file|path) specified|(stat|open executable|lookup|executable).{0,60}no such file or directory",
        category="command_not_found",
        verdict="fail_now",
        explanation=(
            "The command of container {container} does not exist in its image: {message}. Check its spelling "
            "and path, and for "
            "a script that its interpreter is there."
        ),
        source="Go os/exec through runc; crun find_executable; gVisor; hcsshim",
    ),
    _make(
        "command-not-executable",
        r"(?<!close )exec:? .{0,400}(permission denied|is a directory|operation not permitted|text file busy)|not executable|"
        r"exec user process caused.{0,20}(permission denied|is a directory)|"
        r"(open executable|stat|executable).{0,200}(permission denied|operation not permitted)|"
        r"cannot execute|^\s*permission denied",
        category="command_not_executable",
        verdict="fail_now",
        explanation=(
            "The command of container {container} is there but may not be executed: {message}. Set its executable bit "
            "(`chmod +x`) in the image, and do not name a directory."
        ),
        source="kernel EACCES through runc, crun and gVisor",
    ),
    _make(
        "mount-invalid",
        r"are you trying to mount a directory onto a file|mount destination|mount.{0,300}(not a directory|is a directory)|"
        r"(not|isn't) a directory: unknown|duplicate mount point|must be absolute|mount path|mountpoint for|"
        r"make mountpoint|invalid (mount|volume|bind)|not a shared mount|not a shared or slave mount|cannot be mounted|"
        r"(mounting|mount) .{0,300}(to rootfs|through procfd).{0,300}(no such file|read-only|"
        r"not a directory|permission denied|"
        r"invalid argument|operation not permitted)|outside of (rootfs|the container)",
        category="config_invalid",
        verdict="fail_now",
        explanation=(
            "A mount of container {container} does not fit its image: {message}. Check the paths: a file goes "
            "onto a file, a "
            "directory onto a directory."
        ),
        source="runc rootfs_linux.go; crun linux.c; moby volume/mounts",
    ),
    _make(
        "user-unknown",
        r"unable to setup user|cannot set [ug]id|cannot be mapped to a host ID|"
        r"unable to find (user|group)|no users found|no matching entries in (passwd|group)|(user|"
        r"group) .{0,80}(not found|unknown|"
        r"does not exist)|invalid (user|group)\b|unknown capability|invalid capability|invalid (env|"
        r"environment|hostname|rlimit|"
        r"sysctl)|unknown or invalid",
        category="config_invalid",
        verdict="fail_now",
        explanation="A setting of container {container} does not exist in its image or on the node: {message}. Correct it.",
        source="moby/sys user; containerd oci WithUser; runc capabilities",
    ),
    _node_fault(
        "cgroup",
        r"cgroup|devices\.(allow|deny)|systemd|dbus|session key|\.scope\b|\.slice\b|conmon|"
        r"shim.{0,60}(closed|exited|disconnected|"
        r"not running|unavailable)|ttrpc|"
        r"containerd\.sock|crio\.sock|docker\.sock",
        explanation="The runtime of node {node} failed to start container {container}: {message}. " + NODE_RETRY,
        source="runc cgroups and systemd manager; containerd shim; conmon",
    ),
    _make(
        "node-disk-full",
        r"no space left on device|disk quota exceeded",
        category="node_disk_full",
        verdict="retry_free",
        grace="infrastructure",
        explanation="The disk of node {node} is full: {message}. Another node is tried, at no cost to the job.",
        source="kernel ENOSPC and EDQUOT",
    ),
    _node_fault(
        "runtime-slow",
        r"deadline ?exceeded|context cancell?ed|timed? ?out|code = (Unavailable|DeadlineExceeded|"
        r"Canceled)|connection (refused|reset)|"
        r"\bEOF\b|broken pipe|resource temporarily unavailable|too many open files|cannot allocate memory|"
        r"device or resource busy|input/output error|stale|try again|is not in (the )?created state|unknown service runtime\.",
        explanation="The runtime of node {node} did not get container {container} started in time: {message}. "
        + NODE_RETRY,
        source="grpc and kernel errors through containerd, CRI-O and cri-dockerd",
    ),
    _node_fault(
        "image-lost",
        r"image .{0,300}(not found|not known|no such image)|no such image|snapshot .{0,200}(not found|does not exist)|"
        r"failed to (create|prepare) .{0,60}(snapshot|rootfs)|failed to mount rootfs|layer not known|"
        r"container .{0,200}(not found|does not exist|no such container)|no such container|no such task",
        explanation="Node {node} lost a part of container {container} while it was being made: {message}. "
        + NODE_RETRY,
        source="containerd errdefs NotFound; containers/storage; moby",
    ),
    _make(
        "capability-refused",
        r"apply caps|capabilit\w+.{0,80}not permitted",
        category="security_policy",
        verdict="fail_now",
        explanation=(
            "Node {node} does not grant the capabilities that container {container} asks for: {message}. Ask for fewer, or "
            "choose other nodes."
        ),
        source="runc libcontainer/capabilities",
    ),
    _make(
        "not-permitted",
        r"operation not permitted|permission denied",
        category="security_policy",
        verdict="fail_after_grace",
        grace="runtime",
        explanation=(
            "Node {node} does not permit what container {container} needs to start: {message}. Check its user, "
            "capabilities "
            "and mounts."
        ),
        source="kernel EPERM and EACCES through runc and crun",
    ),
)
