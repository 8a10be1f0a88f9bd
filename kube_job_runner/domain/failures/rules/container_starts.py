"""Rows for containers that cannot be created or started, in both places where Kubernetes says so.

While the kubelet may try again, the container waits (`CreateContainerConfigError`, `CreateContainerError`,
`RunContainerError`). With restart policy Never it ends at once (`StartError`). The causes (`container_config`,
`container_launch`) are the same in both places; the other rows hold in one place only.
"""

import functools

import msgspec

from kube_job_runner.domain.failures.rule import Rule, application, fail_after_grace, fail_now, retry_free
from kube_job_runner.domain.failures.rules import container_config, container_launch
from kube_job_runner.domain.failures.rules.container_config import MAKE
from kube_job_runner.domain.failures.rules.container_launch import OCI
from kube_job_runner.domain.failures.rules.rule_rows import NODE_FAULT, by_reason, row

_CAUSES = (*container_config.RULES, *container_launch.RULES)
_ENDED = "StartError ContainerCannotRun"

_text = functools.partial(row, where="container.waiting")
_reason = functools.partial(by_reason, where="container.waiting")

_RUNTIME_REFUSED = _text(
    "runtime-refused",
    r"OCI runtime|shim task|containerd task|unable to start container process|container create failed",
    retry_free("runtime_error", "infrastructure"),
    "The runtime of node {node} failed to start container {container}: {message}." + NODE_FAULT,
    OCI,
    reasons="CreateContainerError RunContainerError",
)


def _ended(rule: Rule) -> Rule:
    """Return the row for a container that ended because of the same cause."""
    return msgspec.structs.replace(
        rule,
        name=f"start-{rule.name}",
        where="container.terminated",
        reasons=frozenset(_ENDED.split()),
        # The container has ended: nothing is left to wait for.
        verdict="fail_now" if rule.verdict == "fail_after_grace" else rule.verdict,
        grace="",
    )


RULES: tuple[Rule, ...] = (
    *_CAUSES,
    _RUNTIME_REFUSED,
    _text(
        "container-refused",
        r"\S",
        fail_after_grace("config_invalid", "runtime"),
        "Node {node} cannot create container {container} with these settings: {message}. Correct the job.",
        "kubelet kuberuntime_container.go",
        reasons=MAKE,
    ),
    _reason(
        "container-refused-silently",
        MAKE,
        retry_free("runtime_error", "infrastructure"),
        "Node {node} could not create container {container} and does not say why ({reason})." + NODE_FAULT,
        "kubelet kuberuntime_container.go",
    ),
    _reason(
        "start-hook",
        "PostStartHookError",
        fail_now("config_invalid"),
        "The postStart hook of container {container} failed ({message}). Correct the hook.",
        "kubelet lifecycle/handlers.go; the output is hidden so that no secret leaks",
    ),
    _reason(
        "read-only-mounts",
        "RROUnsupported",
        fail_now("config_invalid"),
        "Container {container} asks for recursive read-only mounts, which the runtime of node {node} does not have: {message}.",
        "cri-api pkg/errors ErrRROUnsupported",
    ),
    _reason(
        "node-hook",
        "PreCreateHookError PreStartHookError",
        retry_free("runtime_error", "infrastructure"),
        "Node {node} could not assign CPU, memory or a device to container {container}: {message}." + NODE_FAULT,
        "kubelet kuberuntime_container.go, internal lifecycle",
    ),
    _reason(
        "crash-loop",
        "CrashLoopBackOff",
        application("application_exit"),
        "Container {container} ends again and again soon after its start: {message}. Its log says why.",
        "kubelet kuberuntime_manager.go, doBackOff",
    ),
    _reason(
        "sandbox",
        "CreatePodSandboxError ConfigPodSandboxError KillPodSandboxError NetworkNotReady SandboxChanged",
        retry_free("sandbox_failed", "infrastructure"),
        "Node {node} could not set up the network or the sandbox of the pod: {message}." + NODE_FAULT,
        "kubelet container/sync_result.go",
    ),
    _reason(
        "node-cannot-stop",
        "KillContainerError RemoveContainerError ContainerRestoreError CheckpointError",
        retry_free("runtime_error", "infrastructure"),
        "Node {node} could not stop an earlier container: {message}." + NODE_FAULT,
        "kubelet container/sync_result.go",
    ),
    # Causes with fewer reasons come before anything is started.
    *(_ended(rule) for rule in _CAUSES if rule.reasons == set(MAKE.split())),
    _ended(_RUNTIME_REFUSED),
    by_reason(
        "start-refused",
        _ENDED,
        fail_now("start_failed"),
        "Container {container} could not be started: {message}.",
        "kubelet kuberuntime_container.go; runc and crun messages",
        where="container.terminated",
    ),
)
