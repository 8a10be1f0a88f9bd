"""Rows for containers that cannot be created or started because of their command, their mounts, the node or its runtime.

Texts are those of runc, crun, gVisor and Kata below containerd, CRI-O and cri-dockerd. The order matters: a device or a runtime
that is missing, too, ends in "no such file or directory".
"""

from __future__ import annotations

from kube_job_runner.domain.failures.rule import Rule
from kube_job_runner.domain.failures.rules.container_config import make, node_fault
from kube_job_runner.domain.failures.rules.shared import NODE_FAULT

OCI = "runc libcontainer, crun and gVisor error texts"

RULES: tuple[Rule, ...] = (
    make(
        "command-none",
        r"no command specified|no entrypoint|args must not be empty|process\.args|CMD .{0,20}ENTRYPOINT",
        category="config_invalid",
        verdict="fail_now",
        explanation=(
            "Neither the job nor its image names a command for container {container}: {message}. Set `command`."
        ),
        source="containerd internal/cri WithProcessArgs; moby",
    ),
    node_fault(
        "gpu-hook",
        r"nvidia-container|nvidia-ctk|\bCDI\b|error running (pre\w+ )?hook|"
        r"running (prestart|createruntime|\w+) hook|could not select device driver|no-gpu-has|"
        r"failed to initialize NVML|libnvidia|gathering device information|error gathering device|no such device|"
        r"(l?stat|open) /dev/\S+: no such file",
        explanation="Node {node} could not give container {container} its device: {message}." + NODE_FAULT,
        source="NVIDIA container toolkit; runc hooks; containerd and moby CDI",
    ),
    make(
        "sandbox-gone",
        r"cannot join network of a non.?running container|cannot join network namespace|"
        r"sandbox.{0,120}(not (found|running|ready)|is not|not in ready|terminated|stopped)|"
        r"failed to (get|find) sandbox|failed to reserve sandbox|(network|ipc|uts) namespace.{0,80}no such file|"
        r"setns|/proc/\d+/ns/(net|ipc|uts|pid)",
        category="sandbox_failed",
        verdict="retry_free",
        grace="infrastructure",
        explanation="The sandbox of the pod on node {node} is gone: {message}." + NODE_FAULT,
        source="moby daemon/container_operations.go; containerd internal/cri container_create.go",
    ),
    node_fault(
        "name-taken",
        r"failed to reserve container name|name is reserved|is reserved for|name .{0,300}already in use|"
        r"the container name .{0,300}is in use",
        explanation=(
            "The runtime of node {node} still holds an earlier try of container {container}: {message}." + NODE_FAULT
        ),
        source="containerd internal/cri container_create.go; CRI-O ctrNameIndex; moby names",
    ),
    make(
        "working-directory",
        r"chdir to cwd|cwd must|working directory|workingDir|failed to create workdir|mkdir .{0,200}workdir",
        category="config_invalid",
        verdict="fail_now",
        explanation=(
            "The working directory of container {container} does not exist, or the container may not enter it: "
            "{message}. Correct `working_dir`."
        ),
        source=OCI,
    ),
    make(
        "arguments-too-long",
        r"argument list too long",
        category="config_invalid",
        verdict="fail_now",
        explanation=(
            "The arguments and the environment of container {container} exceed the limit of the kernel (128 KiB for "
            "one string): {message}. Pass large values in a file."
        ),
        source="kernel E2BIG through runc and crun",
    ),
    make(
        "architecture",
        r"exec format error",
        category="wrong_architecture",
        verdict="fail_now",
        explanation=(
            "The program of container {container} is built for another CPU type, or is a script without `#!`: "
            "{message}. Use an image for the CPU type of node {node}."
        ),
        source="kernel ENOEXEC through runc and crun",
    ),
    make(
        "windows-version",
        r"operating system does not match the host",
        category="image_platform",
        verdict="fail_after_grace",
        grace="runtime",
        explanation=(
            "The image of container {container} is built for another version of Windows than node {node} runs: "
            "{message}. Use an image for the node's version, or nodes with the image's version."
        ),
        source="hcsshim internal/hcs, HCS_E_IMAGE_MISMATCH",
    ),
    node_fault(
        "runtime-missing",
        r"fork/exec |unable to retrieve OCI runtime error|no runtime for |"
        r"runtime handler .{0,60}(not found|not configured|not supported)",
        explanation="Node {node} lacks the runtime that container {container} needs: {message}." + NODE_FAULT,
        source="containerd runtime shim",
    ),
    make(
        "command-not-found",
        r"executable file .{0,400}not found|executable .{0,300}(not found|does not exist)|not found in \$PATH|"
        r"exec:? .{0,400}(no such file or directory|not found|not a directory)|"
        r"exec user process caused.{0,20}no such file|error finding executable|"
        r"failed to find (the )?(executable|binary)|cannot find the (file|path) specified|"
        r"(stat|open executable|lookup|executable).{0,60}no such file or directory",
        category="command_not_found",
        verdict="fail_now",
        explanation=(
            "The command of container {container} does not exist in its image: {message}. "
            "Check its spelling and path. For a script, check that its interpreter is in the image."
        ),
        source="Go os/exec through runc; crun find_executable; gVisor; hcsshim",
    ),
    make(
        "command-not-executable",
        r"(?<!close )exec:? .{0,400}(permission denied|is a directory|operation not permitted|text file busy)|"
        r"not executable|exec user process caused.{0,20}(permission denied|is a directory)|"
        r"(open executable|stat|executable).{0,200}(permission denied|operation not permitted)|cannot execute|"
        r"^\s*permission denied",
        category="command_not_executable",
        verdict="fail_now",
        explanation=(
            "The command of container {container} exists but may not be executed: {message}. "
            "Set its executable bit (`chmod +x`) in the image, and do not name a directory."
        ),
        source="kernel EACCES through runc, crun and gVisor",
    ),
    make(
        "mount-invalid",
        r"are you trying to mount a directory onto a file|mount destination|"
        r"mount.{0,300}(not a directory|is a directory)|(not|isn't) a directory: unknown|duplicate mount point|"
        r"must be absolute|mount path|mountpoint for|make mountpoint|invalid (mount|volume|bind)|"
        r"not a shared mount|not a shared or slave mount|cannot be mounted|"
        r"(mounting|mount) .{0,300}(to rootfs|through procfd).{0,300}(no such file|read-only|not a directory|"
        r"permission denied|invalid argument|operation not permitted)|outside of (rootfs|the container)",
        category="config_invalid",
        verdict="fail_now",
        explanation=(
            "A mount of container {container} does not fit its image: {message}. "
            "Check the paths: mount a file onto a file, and a directory onto a directory."
        ),
        source="runc rootfs_linux.go; crun linux.c; moby volume/mounts",
    ),
    make(
        "user-unknown",
        r"unable to setup user|cannot set [ug]id|cannot be mapped to a host ID|unable to find (user|group)|"
        r"no users found|no matching entries in (passwd|group)|"
        r"(user|group) .{0,80}(not found|unknown|does not exist)|invalid (user|group)\b|unknown capability|"
        r"invalid capability|invalid (env|environment|hostname|rlimit|sysctl)|unknown or invalid",
        category="config_invalid",
        verdict="fail_now",
        explanation=(
            "A setting of container {container} does not exist in its image or on the node: {message}. Correct it."
        ),
        source="moby/sys user; containerd oci WithUser; runc capabilities",
    ),
    node_fault(
        "cgroup",
        r"cgroup|devices\.(allow|deny)|systemd|dbus|session key|\.scope\b|\.slice\b|conmon|"
        r"shim.{0,60}(closed|exited|disconnected|not running|unavailable)|ttrpc|containerd\.sock|crio\.sock|"
        r"docker\.sock",
        explanation="The runtime of node {node} failed to start container {container}: {message}." + NODE_FAULT,
        source="runc cgroups and systemd manager; containerd shim; conmon",
    ),
    make(
        "node-disk-full",
        r"no space left on device|disk quota exceeded",
        category="node_disk_full",
        verdict="retry_free",
        grace="infrastructure",
        explanation="The disk of node {node} is full: {message}. A new attempt on another node is free.",
        source="kernel ENOSPC and EDQUOT",
    ),
    node_fault(
        "runtime-slow",
        r"deadline ?exceeded|context cancell?ed|timed? ?out|code = (Unavailable|DeadlineExceeded|Canceled)|"
        r"connection (refused|reset)|\bEOF\b|broken pipe|resource temporarily unavailable|too many open files|"
        r"cannot allocate memory|device or resource busy|input/output error|stale|try again|"
        r"is not in (the )?created state|unknown service runtime\.",
        explanation="The runtime of node {node} did not start container {container} in time: {message}." + NODE_FAULT,
        source="grpc and kernel errors through containerd, CRI-O and cri-dockerd",
    ),
    node_fault(
        "image-lost",
        r"image .{0,300}(not found|not known|no such image)|no such image|"
        r"snapshot .{0,200}(not found|does not exist)|failed to (create|prepare) .{0,60}(snapshot|rootfs)|"
        r"failed to mount rootfs|layer not known|container .{0,200}(not found|does not exist|no such container)|"
        r"no such container|no such task",
        explanation="Node {node} lost a part of container {container} while creating it: {message}." + NODE_FAULT,
        source="containerd errdefs NotFound; containers/storage; moby",
    ),
    make(
        "capability-refused",
        r"apply caps|capabilit\w+.{0,80}not permitted",
        category="security_policy",
        verdict="fail_now",
        explanation=(
            "Node {node} does not grant the capabilities that container {container} asks for: {message}. "
            "Ask for fewer, or choose other nodes."
        ),
        source="runc libcontainer/capabilities",
    ),
    make(
        "not-permitted",
        r"operation not permitted|permission denied",
        category="security_policy",
        verdict="fail_after_grace",
        grace="runtime",
        explanation=(
            "Node {node} does not permit what container {container} needs to start: {message}. "
            "Check its user, capabilities and mounts."
        ),
        source="kernel EPERM and EACCES through runc and crun",
    ),
)
