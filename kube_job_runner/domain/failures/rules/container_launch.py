"""Rows for containers that cannot be created or started because of their command, their mounts, the node or its runtime.

Texts are those of runc, crun, gVisor and Kata below containerd, CRI-O and cri-dockerd. The order matters: a device or a runtime
that is missing also ends in "no such file or directory".
"""

from kube_job_runner.domain.failures.rule import Rule, fail_after_grace, fail_now, retry_free
from kube_job_runner.domain.failures.rules.container_config import make, node_fault
from kube_job_runner.domain.failures.rules.rule_rows import NODE_FAULT

OCI = "runc libcontainer, crun and gVisor error texts"

RULES: tuple[Rule, ...] = (
    make(
        "command-none",
        r"no command specified|no entrypoint|args must not be empty|process\.args|CMD .{0,20}ENTRYPOINT",
        fail_now("config_invalid"),
        "Neither the job nor its image names a command for container {container}: {message}. Set `command`.",
        "containerd internal/cri WithProcessArgs; moby",
    ),
    node_fault(
        "gpu-hook",
        r"nvidia-container|nvidia-ctk|\bCDI\b|error running (pre\w+ )?hook|running (prestart|createruntime|\w+) hook|"
        r"could not select device driver|no-gpu-has|failed to initialize NVML|libnvidia|gathering device information|"
        r"error gathering device|no such device|(l?stat|open) /dev/\S+: no such file",
        "Node {node} could not give container {container} its device: {message}.",
        "NVIDIA container toolkit; runc hooks; containerd and moby CDI",
    ),
    make(
        "sandbox-gone",
        r"cannot join network of a non.?running container|cannot join network namespace|"
        r"sandbox.{0,120}(not (found|running|ready)|is not|not in ready|terminated|stopped)|failed to (get|find) sandbox|"
        r"failed to reserve sandbox|(network|ipc|uts) namespace.{0,80}no such file|setns|/proc/\d+/ns/(net|ipc|uts|pid)",
        retry_free("sandbox_failed", "infrastructure"),
        "The sandbox of the pod on node {node} is gone: {message}." + NODE_FAULT,
        "moby daemon/container_operations.go; containerd internal/cri container_create.go",
    ),
    node_fault(
        "name-taken",
        r"failed to reserve container name|name is reserved|is reserved for|name .{0,300}already in use|"
        r"the container name .{0,300}is in use",
        "The runtime of node {node} still holds an earlier try of container {container}: {message}.",
        "containerd internal/cri container_create.go; CRI-O ctrNameIndex; moby names",
    ),
    make(
        "working-directory",
        r"chdir to cwd|cwd must|working directory|workingDir|failed to create workdir|mkdir .{0,200}workdir",
        fail_now("config_invalid"),
        "The working directory of container {container} does not exist, or the container may not enter it: {message}. "
        "Correct `working_dir`.",
        OCI,
    ),
    make(
        "arguments-too-long",
        r"argument list too long",
        fail_now("config_invalid"),
        "The arguments and the environment of container {container} exceed the limit of the kernel (128 KiB for one "
        "string): {message}. Pass large values in a file.",
        "kernel E2BIG through runc and crun",
    ),
    make(
        "architecture",
        r"exec format error",
        fail_now("wrong_architecture"),
        "The program of container {container} is built for another CPU type, or is a script without `#!`: {message}. "
        "Use an image for the CPU type of node {node}.",
        "kernel ENOEXEC through runc and crun",
    ),
    make(
        "windows-version",
        r"operating system does not match the host",
        fail_after_grace("image_platform", "runtime"),
        "The image of container {container} is built for another version of Windows than node {node} runs: {message}. "
        "Use an image for the node's version, or nodes with the image's version.",
        "hcsshim internal/hcs, HCS_E_IMAGE_MISMATCH",
    ),
    node_fault(
        "runtime-missing",
        r"fork/exec |unable to retrieve OCI runtime error|no runtime for |"
        r"runtime handler .{0,60}(not found|not configured|not supported)",
        "Node {node} lacks the runtime that container {container} needs: {message}.",
        "containerd runtime shim",
    ),
    make(
        "command-not-found",
        r"executable file .{0,400}not found|executable .{0,300}(not found|does not exist)|not found in \$PATH|"
        r"exec:? .{0,400}(no such file or directory|not found|not a directory)|exec user process caused.{0,20}no such file|"
        r"error finding executable|failed to find (the )?(executable|binary)|cannot find the (file|path) specified|"
        r"(stat|open executable|lookup|executable).{0,60}no such file or directory",
        fail_now("command_not_found"),
        "The command of container {container} does not exist in its image: {message}. "
        "Check its spelling and path. For a script, check that its interpreter is in the image.",
        "Go os/exec through runc; crun find_executable; gVisor; hcsshim",
    ),
    make(
        "command-not-executable",
        r"(?<!close )exec:? .{0,400}(permission denied|is a directory|operation not permitted|text file busy)|"
        r"not executable|exec user process caused.{0,20}(permission denied|is a directory)|"
        r"(open executable|stat|executable).{0,200}(permission denied|operation not permitted)|cannot execute|"
        r"^\s*permission denied",
        fail_now("command_not_executable"),
        "The command of container {container} exists but may not be executed: {message}. "
        "Set its executable bit (`chmod +x`) in the image, and do not name a directory.",
        "kernel EACCES through runc, crun and gVisor",
    ),
    make(
        "mount-invalid",
        r"are you trying to mount a directory onto a file|mount destination|"
        r"mount.{0,300}(not a directory|is a directory)|(not|isn't) a directory: unknown|duplicate mount point|"
        r"must be absolute|mount path|mountpoint for|make mountpoint|invalid (mount|volume|bind)|"
        r"not a shared mount|not a shared or slave mount|cannot be mounted|"
        r"(mounting|mount) .{0,300}(to rootfs|through procfd).{0,300}(no such file|read-only|not a directory|"
        r"permission denied|invalid argument|operation not permitted)|outside of (rootfs|the container)",
        fail_now("config_invalid"),
        "A mount of container {container} does not fit its image: {message}. "
        "Check the paths: mount a file onto a file, and a directory onto a directory.",
        "runc rootfs_linux.go; crun linux.c; moby volume/mounts",
    ),
    make(
        "user-unknown",
        r"unable to setup user|cannot set [ug]id|cannot be mapped to a host ID|unable to find (user|group)|no users found|"
        r"no matching entries in (passwd|group)|(user|group) .{0,80}(not found|unknown|does not exist)|invalid (user|group)\b|"
        r"unknown capability|invalid capability|invalid (env|environment|hostname|rlimit|sysctl)|unknown or invalid",
        fail_now("config_invalid"),
        "A setting of container {container} does not exist in its image or on the node: {message}. Correct it.",
        "moby/sys user; containerd oci WithUser; runc capabilities",
    ),
    node_fault(
        "cgroup",
        r"cgroup|devices\.(allow|deny)|systemd|dbus|session key|\.scope\b|\.slice\b|conmon|"
        r"shim.{0,60}(closed|exited|disconnected|not running|unavailable)|ttrpc|containerd\.sock|crio\.sock|docker\.sock",
        "The runtime of node {node} failed to start container {container}: {message}.",
        "runc cgroups and systemd manager; containerd shim; conmon",
    ),
    make(
        "node-disk-full",
        r"no space left on device|disk quota exceeded",
        retry_free("node_disk_full", "infrastructure"),
        "The disk of node {node} is full: {message}. A new attempt on another node is free.",
        "kernel ENOSPC and EDQUOT",
    ),
    node_fault(
        "runtime-slow",
        r"deadline ?exceeded|context cancell?ed|timed? ?out|code = (Unavailable|DeadlineExceeded|Canceled)|"
        r"connection (refused|reset)|\bEOF\b|broken pipe|resource temporarily unavailable|too many open files|"
        r"cannot allocate memory|device or resource busy|input/output error|stale|try again|"
        r"is not in (the )?created state|unknown service runtime\.",
        "The runtime of node {node} did not start container {container} in time: {message}.",
        "grpc and kernel errors through containerd, CRI-O and cri-dockerd",
    ),
    node_fault(
        "image-lost",
        r"image .{0,300}(not found|not known|no such image)|no such image|snapshot .{0,200}(not found|does not exist)|"
        r"failed to (create|prepare) .{0,60}(snapshot|rootfs)|failed to mount rootfs|layer not known|"
        r"container .{0,200}(not found|does not exist|no such container)|no such container|no such task",
        "Node {node} lost a part of container {container} while creating it: {message}.",
        "containerd errdefs NotFound; containers/storage; moby",
    ),
    make(
        "capability-refused",
        r"apply caps|capabilit\w+.{0,80}not permitted",
        fail_now("security_policy"),
        "Node {node} does not grant the capabilities that container {container} asks for: {message}. "
        "Ask for fewer, or choose other nodes.",
        "runc libcontainer/capabilities",
    ),
    make(
        "not-permitted",
        r"operation not permitted|permission denied",
        fail_after_grace("security_policy", "runtime"),
        "Node {node} does not permit what container {container} needs to start: {message}. "
        "Check its user, capabilities and mounts.",
        "kernel EPERM and EACCES through runc and crun",
    ),
)
