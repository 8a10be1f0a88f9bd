"""Rows for containers that cannot be created or started, in both places where Kubernetes says so.

While the kubelet may try again, the container waits (`CreateContainerConfigError`, `CreateContainerError`,
`RunContainerError`). With restart policy Never it ends at once (`StartError`). The causes (`container_config`,
`container_launch`) are the same in both places; the other rows hold in one place only.
"""

from __future__ import annotations

import functools

import msgspec

from kube_job_runner.domain.failures.rule import Rule, row
from kube_job_runner.domain.failures.rules import container_config, container_launch
from kube_job_runner.domain.failures.rules.container_config import MAKE
from kube_job_runner.domain.failures.rules.container_launch import OCI
from kube_job_runner.domain.failures.rules.shared import NODE_FAULT

_CAUSES = (*container_config.RULES, *container_launch.RULES)
_ENDED = frozenset({"StartError", "ContainerCannotRun"})

_start = functools.partial(row, where="container.waiting")

_RUNTIME_REFUSED = _start(
    "runtime-refused",
    r"OCI runtime|shim task|containerd task|unable to start container process|container create failed",
    reasons=("CreateContainerError", "RunContainerError"),
    category="runtime_error",
    verdict="retry_free",
    grace="infrastructure",
    explanation="The runtime of node {node} failed to start container {container}: {message}." + NODE_FAULT,
    source=OCI,
)


def _ended(rule: Rule) -> Rule:
    """Return the row for a container that ended because of the same cause."""
    return msgspec.structs.replace(
        rule,
        name=f"start-{rule.name}",
        where="container.terminated",
        reasons=_ENDED,
        # The container has ended: nothing is left to wait for.
        verdict="fail_now" if rule.verdict == "fail_after_grace" else rule.verdict,
        grace="",
    )


RULES: tuple[Rule, ...] = (
    *_CAUSES,
    _RUNTIME_REFUSED,
    _start(
        "container-refused",
        r"\S",
        reasons=MAKE,
        category="config_invalid",
        verdict="fail_after_grace",
        grace="runtime",
        explanation=(
            "Node {node} cannot create container {container} with these settings: {message}. Correct the job."
        ),
        source="kubelet kuberuntime_container.go",
    ),
    _start(
        "container-refused-silently",
        reasons=MAKE,
        category="runtime_error",
        verdict="retry_free",
        grace="infrastructure",
        explanation=(
            "Node {node} could not create container {container} and does not say why ({reason})." + NODE_FAULT
        ),
        source="kubelet kuberuntime_container.go",
    ),
    _start(
        "start-hook",
        reasons=("PostStartHookError",),
        category="config_invalid",
        verdict="fail_now",
        explanation="The postStart hook of container {container} failed ({message}). Correct the hook.",
        source="kubelet lifecycle/handlers.go; the output is hidden so that no secret leaks",
    ),
    _start(
        "read-only-mounts",
        reasons=("RROUnsupported",),
        category="config_invalid",
        verdict="fail_now",
        explanation=(
            "Container {container} asks for recursive read-only mounts, which the runtime of node {node} does not "
            "have: {message}."
        ),
        source="cri-api pkg/errors ErrRROUnsupported",
    ),
    _start(
        "node-hook",
        reasons=("PreCreateHookError", "PreStartHookError"),
        category="runtime_error",
        verdict="retry_free",
        grace="infrastructure",
        explanation=(
            "Node {node} could not assign CPU, memory or a device to container {container}: {message}." + NODE_FAULT
        ),
        source="kubelet kuberuntime_container.go, internal lifecycle",
    ),
    _start(
        "crash-loop",
        reasons=("CrashLoopBackOff",),
        category="application_exit",
        verdict="application",
        explanation="Container {container} ends again and again soon after its start: {message}. Its log says why.",
        source="kubelet kuberuntime_manager.go, doBackOff",
    ),
    _start(
        "sandbox",
        reasons=(
            "CreatePodSandboxError",
            "ConfigPodSandboxError",
            "KillPodSandboxError",
            "NetworkNotReady",
            "SandboxChanged",
        ),
        category="sandbox_failed",
        verdict="retry_free",
        grace="infrastructure",
        explanation="Node {node} could not set up the network or the sandbox of the pod: {message}." + NODE_FAULT,
        source="kubelet container/sync_result.go",
    ),
    _start(
        "node-cannot-stop",
        reasons=("KillContainerError", "RemoveContainerError", "ContainerRestoreError", "CheckpointError"),
        category="runtime_error",
        verdict="retry_free",
        grace="infrastructure",
        explanation="Node {node} could not stop an earlier container: {message}." + NODE_FAULT,
        source="kubelet container/sync_result.go",
    ),
    *(_ended(rule) for rule in _CAUSES if rule.reasons == MAKE),  # the others come before anything is started
    _ended(_RUNTIME_REFUSED),
    row(
        "start-refused",
        where="container.terminated",
        reasons=_ENDED,
        category="start_failed",
        verdict="fail_now",
        explanation="Container {container} could not be started: {message}.",
        source="kubelet kuberuntime_container.go; runc and crun messages",
    ),
)
