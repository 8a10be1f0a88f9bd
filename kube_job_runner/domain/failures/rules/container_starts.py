"""Rows for containers that cannot be made or started: their configuration, their command, their mounts, the runtime.

The same causes are told in two places. While the kubelet may try again, the container waits (`CreateContainerConfigError`,
`CreateContainerError`, `RunContainerError`); with restart policy Never it ends at once (`StartError`). Both have the same
rows (`causes`); here are those of one place alone.
"""

from __future__ import annotations

import msgspec

from kube_job_runner.domain.failures.rule import Rule, text
from kube_job_runner.domain.failures.rules.container_causes import CAUSES, MAKE, NODE_RETRY, OCI

_ENDED = frozenset({"StartError", "ContainerCannotRun"})


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
    *CAUSES,
    Rule(
        name="runtime-refused",
        where="container.waiting",
        reasons=frozenset({"CreateContainerError", "RunContainerError"}),
        pattern=text(
            r"OCI runtime|shim task|containerd task|unable to start container process|container create failed"
        ),
        category="runtime_error",
        verdict="retry_free",
        grace="infrastructure",
        explanation="The runtime of node {node} failed to start container {container}: {message}. " + NODE_RETRY,
        source=OCI,
    ),
    Rule(
        name="container-refused",
        where="container.waiting",
        reasons=MAKE,
        pattern=text(r"\S"),
        category="config_invalid",
        verdict="fail_after_grace",
        grace="runtime",
        explanation="Node {node} cannot make container {container} as it is asked for: {message}. Correct the job.",
        source="kubelet kuberuntime_container.go",
    ),
    Rule(
        name="container-refused-silently",
        where="container.waiting",
        reasons=frozenset({"CreateContainerError", "RunContainerError", "CreateContainerConfigError"}),
        category="runtime_error",
        verdict="retry_free",
        grace="infrastructure",
        explanation="Node {node} could not make container {container}, and does not say why ({reason}). " + NODE_RETRY,
        source="kubelet kuberuntime_container.go",
    ),
    Rule(
        name="start-hook",
        where="container.waiting",
        reasons=frozenset({"PostStartHookError"}),
        category="config_invalid",
        verdict="fail_now",
        explanation="The postStart hook of container {container} failed ({message}). Correct the hook.",
        source="kubelet lifecycle/handlers.go; the output is hidden so that no secret leaks",
    ),
    Rule(
        name="read-only-mounts",
        where="container.waiting",
        reasons=frozenset({"RROUnsupported"}),
        category="config_invalid",
        verdict="fail_now",
        explanation=(
            "The runtime of node {node} has no recursive read-only mounts, which container {container} asks for: "
            "{message}."
        ),
        source="cri-api pkg/errors ErrRROUnsupported",
    ),
    Rule(
        name="node-hook",
        where="container.waiting",
        reasons=frozenset({"PreCreateHookError", "PreStartHookError"}),
        category="runtime_error",
        verdict="retry_free",
        grace="infrastructure",
        explanation="Node {node} could not assign CPU, memory or a device to container {container}: {message}. "
        + NODE_RETRY,
        source="kubelet kuberuntime_container.go, internal lifecycle",
    ),
    Rule(
        name="crash-loop",
        where="container.waiting",
        reasons=frozenset({"CrashLoopBackOff"}),
        category="application_exit",
        verdict="application",
        explanation="Container {container} keeps ending soon after its start: {message}. Its log says why.",
        source="kubelet kuberuntime_manager.go, doBackOff",
    ),
    Rule(
        name="sandbox",
        where="container.waiting",
        reasons=frozenset(
            {
                "CreatePodSandboxError",
                "ConfigPodSandboxError",
                "KillPodSandboxError",
                "NetworkNotReady",
                "SandboxChanged",
            }
        ),
        category="sandbox_failed",
        verdict="retry_free",
        grace="infrastructure",
        explanation="Node {node} could not set up the network or the sandbox of the pod: {message}. " + NODE_RETRY,
        source="kubelet container/sync_result.go",
    ),
    Rule(
        name="node-cannot-stop",
        where="container.waiting",
        reasons=frozenset({"KillContainerError", "RemoveContainerError", "ContainerRestoreError", "CheckpointError"}),
        category="runtime_error",
        verdict="retry_free",
        grace="infrastructure",
        explanation="Node {node} could not stop an earlier container: {message}. " + NODE_RETRY,
        source="kubelet container/sync_result.go",
    ),
    *(_ended(rule) for rule in CAUSES if rule.reasons == MAKE),  # the rest comes before anything is started
    Rule(
        name="start-runtime-refused",
        where="container.terminated",
        reasons=_ENDED,
        pattern=text(
            r"OCI runtime|shim task|containerd task|unable to start container process|container create failed"
        ),
        category="runtime_error",
        verdict="retry_free",
        explanation="The runtime of node {node} failed to start container {container}: {message}. " + NODE_RETRY,
        source=OCI,
    ),
    Rule(
        name="start-refused",
        where="container.terminated",
        reasons=_ENDED,
        category="start_failed",
        verdict="fail_now",
        explanation="Container {container} could not be started: {message}.",
        source="kubelet kuberuntime_container.go; runc and crun messages",
    ),
)
