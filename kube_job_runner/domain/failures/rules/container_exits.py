"""Rows for containers that ended: lost, killed, or by their own exit code."""

import functools
from collections.abc import Iterable

from kube_job_runner.domain.failures.rule import Rule, Ruling, application, fail_now, retry_free
from kube_job_runner.domain.failures.rules.rule_rows import by_reason, row

# It is all that was said: a program that says more has been started. Go programs say `exec: "git": ...` of their own children.
_LOADER = (
    r"^\s*(standard_init_linux\.go:\d+: |\[\w+ +tini \(\d+\)\] )?exec:? (user process caused|[^\s\"]+( failed)?): "
)

_exit = functools.partial(row, where="container.terminated")
_reason = functools.partial(by_reason, where="container.terminated")


def _loader(name: str, pattern: str, ruling: Ruling, explanation: str) -> Rule:
    source = "runc standard_init_linux.go: reported from within the container"
    return _exit(name, rf"{_LOADER}{pattern}\s*$", ruling, explanation, source, reasons="Error")


def _code(name: str, exit_codes: Iterable[int], ruling: Ruling, explanation: str, source: str) -> Rule:
    return _exit(name, "", ruling, explanation, source, exit_codes=exit_codes)


RULES: tuple[Rule, ...] = (
    _reason(
        "oom-killed",
        "OOMKilled",
        application("out_of_memory"),
        "Container {container} used more memory than its limit, and the kernel killed it or one of its processes "
        "(exit code {exit_code}). Raise resources.memory, or use less memory.",
        "containerd internal/cri, CRI-O and cri-dockerd: the memory cgroup's OOM event",
    ),
    _reason(
        "container-lost",
        "ContainerStatusUnknown",
        retry_free("node_lost"),
        "Node {node} lost track of container {container}, so its outcome is unknown: {message}. A new attempt is free.",
        "kubelet kubelet_pods.go: exit code 137 is made up by the kubelet",
    ),
    _reason(
        "container-unknown",
        "Unknown",
        retry_free("node_lost"),
        "The runtime of node {node} does not know how container {container} ended (exit code {exit_code}). "
        "The node may have restarted. A new attempt is free.",
        "containerd internal/cri restart.go: exit code 255, reason Unknown",
    ),
    _loader(
        "loader-architecture",
        r"exec format error",
        fail_now("wrong_architecture"),
        "The program of container {container} is built for another CPU type, or is a script without `#!`: {message}. "
        "Use an image for the CPU type of node {node}.",
    ),
    _loader(
        "loader-not-found",
        r"no such file or directory",
        fail_now("command_not_found"),
        "The program of container {container}, or its interpreter or loader, is not in the image: {message}. "
        "Check the image, and that it is built for the CPU type of the node.",
    ),
    _loader(
        "loader-not-executable",
        r"(permission denied|is a directory|operation not permitted)",
        fail_now("command_not_executable"),
        "The command of container {container} may not be executed: {message}. Set its executable bit in the image.",
    ),
    _code(
        "killed-by-signal",
        range(129, 193),
        application("killed_by_signal"),
        "Container {container} was killed by {signal} (exit code {exit_code}).{said} Read the last lines of its log. "
        "If the program did not end itself, check whether the node, a deadline or a cancel ended it.",
        "POSIX 128 + signal; 137 alone proves no lack of memory",
    ),
    _code(
        "command-exit-127",
        (127,),
        application("application_exit"),
        "Container {container} exited with code 127. "
        "A shell uses it for a command that it cannot find.{said} The log says which.",
        "POSIX shell exit codes",
    ),
    _code(
        "command-exit-126",
        (126,),
        application("application_exit"),
        "Container {container} exited with code 126. "
        "A shell uses it for a command that it may not execute.{said} The log says which.",
        "POSIX shell exit codes",
    ),
    _code(
        "command-exit",
        range(1, 256),
        application("application_exit"),
        "Container {container} exited with code {exit_code}.{said}",
        "core/v1 ContainerStateTerminated",
    ),
    _reason(
        "command-error",
        "Error",
        application("application_exit"),
        "Container {container} ended with an error (exit code {exit_code}).{said}",
        "core/v1 ContainerStateTerminated",
    ),
)
