"""Rows for containers that ended: lost, killed, or by their own exit code."""

from __future__ import annotations

import functools

from kube_job_runner.domain.failures.rule import Rule, row

_LOADER = (
    r"^\s*(standard_init_linux\.go:\d+: |\[\w+ +tini \(\d+\)\] )?exec:? (user process caused|failed|/?\S+?)\W.{0,200}"
)
_BY_SIGNAL = frozenset(range(129, 193))

_exit = functools.partial(row, where="container.terminated")

RULES: tuple[Rule, ...] = (
    _exit(
        "oom-killed",
        reasons=("OOMKilled",),
        category="out_of_memory",
        verdict="application",
        explanation=(
            "Container {container} used more memory than its limit, and the kernel killed it or one of its processes "
            "(exit code {exit_code}). Raise resources.memory, or use less memory."
        ),
        source="containerd internal/cri, CRI-O and cri-dockerd: the memory cgroup's OOM event",
    ),
    _exit(
        "container-lost",
        reasons=("ContainerStatusUnknown",),
        category="node_lost",
        verdict="retry_free",
        explanation=(
            "Node {node} lost track of container {container}, so its outcome is unknown: {message}. "
            "A new attempt is free."
        ),
        source="kubelet kubelet_pods.go: exit code 137 is made up by the kubelet",
    ),
    _exit(
        "container-unknown",
        reasons=("Unknown",),
        category="node_lost",
        verdict="retry_free",
        explanation=(
            "The runtime of node {node} does not know how container {container} ended (exit code {exit_code}). "
            "The node may have restarted. A new attempt is free."
        ),
        source="containerd internal/cri restart.go: exit code 255, reason Unknown",
    ),
    _exit(
        "loader-architecture",
        _LOADER + r"exec format error",
        reasons=("Error",),
        category="wrong_architecture",
        verdict="fail_now",
        explanation=(
            "The program of container {container} is built for another CPU type, or is a script without `#!`: "
            "{message}. Use an image for the CPU type of node {node}."
        ),
        source="runc standard_init_linux.go: reported from within the container",
    ),
    _exit(
        "loader-not-found",
        _LOADER + r"(no such file or directory|executable file not found)",
        reasons=("Error",),
        category="command_not_found",
        verdict="fail_now",
        explanation=(
            "The program of container {container}, or its interpreter or loader, is not in the image: {message}. "
            "Check the image, and that it is built for the CPU type of the node."
        ),
        source="runc standard_init_linux.go: reported from within the container",
    ),
    _exit(
        "loader-not-executable",
        _LOADER + r"(permission denied|is a directory|operation not permitted)",
        reasons=("Error",),
        category="command_not_executable",
        verdict="fail_now",
        explanation=(
            "The command of container {container} may not be executed: {message}. Set its executable bit in the image."
        ),
        source="runc standard_init_linux.go: reported from within the container",
    ),
    _exit(
        "killed-by-signal",
        exit_codes=_BY_SIGNAL,
        category="killed_by_signal",
        verdict="application",
        explanation=(
            "Container {container} was killed by {signal} (exit code {exit_code}).{said} "
            "Read the last lines of its log. "
            "If the program did not end itself, check whether the node, a deadline or a cancel ended it."
        ),
        source="POSIX 128 + signal; 137 alone proves no lack of memory",
    ),
    _exit(
        "command-exit-127",
        exit_codes=(127,),
        category="application_exit",
        verdict="application",
        explanation=(
            "Container {container} exited with code 127. A shell uses it for a command that it cannot find.{said} "
            "The log says which."
        ),
        source="POSIX shell exit codes",
    ),
    _exit(
        "command-exit-126",
        exit_codes=(126,),
        category="application_exit",
        verdict="application",
        explanation=(
            "Container {container} exited with code 126. "
            "A shell uses it for a command that it may not execute.{said} The log says which."
        ),
        source="POSIX shell exit codes",
    ),
    _exit(
        "command-exit",
        exit_codes=range(1, 256),
        category="application_exit",
        verdict="application",
        explanation="Container {container} exited with code {exit_code}.{said}",
        source="core/v1 ContainerStateTerminated",
    ),
    _exit(
        "command-error",
        reasons=("Error",),
        category="application_exit",
        verdict="application",
        explanation="Container {container} ended with an error (exit code {exit_code}).{said}",
        source="core/v1 ContainerStateTerminated",
    ),
)
