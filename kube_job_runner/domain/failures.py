"""What a failure means: a table from the signals of Kubernetes to a reason, what to do, and one sentence for a person.

Rules are tried in the order of the table, within the place (`where`) that the diagnosis looks at; the first whose Kubernetes
reason and message fit decides. Messages are matched on how runtimes and registries word their errors in general, never on one
literal text, for the texts change with the runtime's version. What no rule knows is never fatal: it waits, and is counted.
"""

from __future__ import annotations

import re
from typing import Literal

import msgspec

Where = Literal["container.waiting", "container.terminated", "pod.status", "pod.condition", "job.condition"]
Action = Literal["fail_now", "fail_after_grace", "wait", "retry_free", "application"]
Grace = Literal["image", "config", ""]


class Rule(msgspec.Struct, frozen=True, kw_only=True):
    """One row: the signal (`where`, Kubernetes `reasons`, message `pattern`), its `reason` code, what to do, and why.

    `fail_now` and `fail_after_grace` are permanent faults of the job; `infrastructure` and `application` may be retried;
    `wait` is normal, or may mend itself. `explanation` may name {container}, {exit_code}, {signal}, {message} and {node}.
    """

    where: Where
    reasons: frozenset[str] = frozenset()
    pattern: re.Pattern[str] | None = None
    reason: str
    verdict: Action
    name: str = ''
    grace: Grace = ""
    explanation: str
    source: str

    def fits(self, reason: str, message: str) -> bool:
        """Tell whether the rule covers a signal of its place."""
        if self.reasons and reason not in self.reasons:
            return False
        return self.pattern is None or self.pattern.search(message) is not None


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """What the table says about one signal; `rule` is the row that matched."""

    rule: Rule
    explanation: str

    @property
    def verdict(self):
        return self.rule.verdict

    @property
    def reason(self) -> str:
        """The stable reason code."""
        return self.rule.reason


def _message(pattern: str) -> re.Pattern[str]:
    return re.compile(pattern, re.IGNORECASE)


_PULL = frozenset({"ErrImagePull", "ImagePullBackOff"})
_START = frozenset({"StartError", "ContainerCannotRun", "RunContainerError", "CreateContainerError"})
_KUBELET_IMAGES = "kubelet images/types.go and image_manager.go"
_KUBELET_CONTAINER = "kubelet kuberuntime_container.go; runc and crun messages"

RULES: tuple[Rule, ...] = (
    # --- a container that waits ---
    Rule(
        where="container.waiting",
        reasons=frozenset({"InvalidImageName"}),
        reason="ImageReferenceInvalid",
        verdict="fail_now",
        explanation="The image reference of container {container} is not valid: {message}. Correct the image of the job.",
        source=_KUBELET_IMAGES,
    ),
    Rule(
        where="container.waiting",
        reasons=frozenset({"ErrImageNeverPull"}),
        reason="ImageNotFound",
        verdict="fail_after_grace",
        grace="image",
        explanation="The node has no copy of the image of container {container} and may not pull it (pull policy Never).",
        source=_KUBELET_IMAGES,
    ),
    Rule(
        where="container.waiting",
        reasons=_PULL,
        pattern=_message(
            r"toomanyrequests|too many requests|\b429\b|rate.?limit|pull QPS exceeded|"
            r"\b50[0234]\b|internal server error|service unavailable|bad gateway|gateway time-?out|"
            r"i/o timeout|timed? ?out|deadline exceeded|connection (refused|reset)|no such host|server misbehaving|"
            r"network is unreachable|no route to host|tls: |TLS handshake|x509: |unexpected EOF|: EOF"
        ),
        reason="RegistryUnavailable",
        verdict="wait",
        explanation="The registry of the image of container {container} did not answer; the node keeps trying: {message}.",
        source="containerd remotes/docker and net/http error texts",
    ),
    Rule(
        where="container.waiting",
        reasons=_PULL,
        pattern=_message(r"no space left on device|disk quota exceeded"),
        reason="NodeDiskFull",
        verdict="wait",
        explanation="The disk of node {node} is full, so the image of container {container} could not be stored.",
        source="containerd and kernel ENOSPC",
    ),
    Rule(
        where="container.waiting",
        reasons=_PULL,
        pattern=_message(
            r"no match(ing manifest)? for platform|no matching manifest|does not match the specified platform"
        ),
        reason="ImagePlatform",
        verdict="fail_after_grace",
        grace="image",
        explanation="The image of container {container} is not built for the CPU type of node {node}: {message}.",
        source="containerd platforms, docker distribution",
    ),
    Rule(
        where="container.waiting",
        reasons=_PULL,
        pattern=_message(
            r"\b401\b|\b403\b|unauthorized|forbidden|authentication required|authorization failed|access denied|"
            r"access to the resource is denied|no basic auth credentials|insufficient_scope|denied:"
        ),
        reason="ImageUnauthorized",
        verdict="fail_after_grace",
        grace="image",
        explanation=(
            "The registry refused the pull of the image of container {container}: {message}. Check that the image exists and "
            "that the service account has a pull secret for it."
        ),
        source="distribution errcode; registries answer so for a missing repository too",
    ),
    Rule(
        where="container.waiting",
        reasons=_PULL,
        pattern=_message(r"not found|manifest unknown|name unknown|no such image|does not exist|\b404\b"),
        reason="ImageNotFound",
        verdict="fail_after_grace",
        grace="image",
        explanation="The image or its tag does not exist: {message}. Check the image of the job and push it if it is missing.",
        source="distribution errcode MANIFEST_UNKNOWN, NAME_UNKNOWN; containerd NotFound",
    ),
    Rule(
        where="container.waiting",
        reasons=frozenset({"CreateContainerConfigError"}),
        pattern=_message(r"(secret|configmap)s? .*not found|couldn't find key"),
        reason="ConfigMissing",
        verdict="fail_after_grace",
        grace="config",
        explanation="Container {container} refers to something that is missing: {message}. Create it, or correct the name.",
        source="kubelet kubelet_pods.go, makeEnvironmentVariables",
    ),
    Rule(
        where="container.waiting",
        reasons=frozenset({"CreateContainerConfigError"}),
        pattern=_message(r"runAsNonRoot|run as root"),
        reason="SecurityPolicy",
        verdict="fail_now",
        explanation="The image of container {container} runs as root, which the platform forbids: {message}.",
        source="kubelet security_context.go, verifyRunAsNonRoot",
    ),
    Rule(
        where="container.waiting",
        reasons=_START,
        pattern=_message(r"executable file not found|no such file or directory"),
        reason="CommandNotFound",
        verdict="fail_now",
        explanation="The command of container {container} does not exist in the image: {message}.",
        source=_KUBELET_CONTAINER,
    ),
    Rule(
        where="container.waiting",
        reasons=_START,
        pattern=_message(r"permission denied|is a directory"),
        reason="CommandNotExecutable",
        verdict="fail_now",
        explanation="The command of container {container} may not be executed: {message}.",
        source=_KUBELET_CONTAINER,
    ),
    # --- a pod that the node or the cluster ended ---
    Rule(
        where="pod.status",
        reasons=frozenset({"Evicted"}),
        pattern=_message(r"exceed(s|ed) the (total )?limit|exceeds the limit"),
        reason="EphemeralStorageExceeded",
        verdict="application",
        explanation="The pod wrote more than its storage limit and was evicted from node {node}: {message}.",
        source="kubelet eviction/helpers.go",
    ),
    Rule(
        where="pod.status",
        reasons=frozenset({"Evicted"}),
        reason="NodePressureEvicted",
        verdict="retry_free",
        explanation="Node {node} was low on a resource and evicted the pod: {message}.",
        source="kubelet eviction/helpers.go",
    ),
    Rule(
        where="pod.status",
        reasons=frozenset({"DeadlineExceeded"}),
        reason="DeadlineExceeded",
        verdict="application",
        explanation="The pod ran longer than its deadline: {message}.",
        source="kubelet active_deadline.go",
    ),
    Rule(
        where="pod.status",
        reasons=frozenset({"Terminated", "Shutdown", "NodeShutdown"}),
        reason="NodeShutdown",
        verdict="retry_free",
        explanation="Node {node} was shut down: {message}.",
        source="kubelet nodeshutdown",
    ),
    Rule(
        where="pod.status",
        reasons=frozenset({"NodeLost"}),
        reason="NodeLost",
        verdict="retry_free",
        explanation="Contact with node {node} was lost; the container may still run there.",
        source="node lifecycle controller, pkg/util/node",
    ),
    Rule(
        where="pod.status",
        reasons=frozenset({"UnexpectedAdmissionError", "NodeAffinity", "Preempting", "TopologyAffinityError"}),
        reason="NodeRejected",
        verdict="retry_free",
        explanation="Node {node} rejected the pod before it ran: {message}.",
        source="kubelet lifecycle/predicate.go",
    ),
    Rule(
        where="pod.status",
        pattern=_message(r"^(Pod was rejected|Node didn't have enough resource)"),
        reason="NodeRejected",
        verdict="retry_free",
        explanation="Node {node} rejected the pod before it ran: {message}.",
        source="kubelet lifecycle/predicate.go, OutOf<resource>",
    ),
    Rule(
        where="pod.condition",
        reasons=frozenset({"PreemptionByScheduler"}),
        reason="Preempted",
        verdict="retry_free",
        explanation="The pod was removed from node {node} to make room for one of higher priority: {message}.",
        source="KEP-3329 DisruptionTarget",
    ),
    Rule(
        where="pod.condition",
        reasons=frozenset({"DeletionByPodGC"}),
        reason="NodeLost",
        verdict="retry_free",
        explanation="Node {node} no longer exists: {message}.",
        source="KEP-3329 DisruptionTarget",
    ),
    Rule(
        where="pod.condition",
        reason="Disrupted",
        verdict="retry_free",
        explanation="The pod was moved off node {node}: {message}.",
        source="KEP-3329 DisruptionTarget",
    ),
    # --- a container that ended ---
    Rule(
        where="container.terminated",
        reasons=frozenset({"OOMKilled"}),
        reason="OutOfMemory",
        verdict="application",
        explanation="Container {container} used more memory than its limit and was killed. Raise resources.memory.",
        source="containerd internal/cri OOMKilled",
    ),
    Rule(
        where="container.terminated",
        reasons=_START,
        pattern=_message(r"executable file not found|no such file or directory"),
        reason="CommandNotFound",
        verdict="fail_now",
        explanation="The command of container {container} does not exist: {message}.",
        source=_KUBELET_CONTAINER,
    ),
    Rule(
        where="container.terminated",
        reasons=_START,
        pattern=_message(r"permission denied|is a directory"),
        reason="CommandNotExecutable",
        verdict="fail_now",
        explanation="The command of container {container} may not be executed: {message}.",
        source=_KUBELET_CONTAINER,
    ),
    Rule(
        where="container.terminated",
        reasons=_START,
        pattern=_message(r"exec format error"),
        reason="WrongArchitecture",
        verdict="fail_now",
        explanation="The command of container {container} is built for another CPU type: {message}.",
        source=_KUBELET_CONTAINER,
    ),
    Rule(
        where="container.terminated",
        reasons=_START,
        reason="StartFailed",
        verdict="fail_now",
        explanation="Container {container} could not be started: {message}.",
        source=_KUBELET_CONTAINER,
    ),
    Rule(
        where="container.terminated",
        reasons=frozenset({"ContainerStatusUnknown"}),
        reason="NodeLost",
        verdict="retry_free",
        explanation="Node {node} lost track of container {container}, so its outcome is unknown: {message}.",
        source="kubelet kubelet_pods.go",
    ),
    # --- a Job that Kubernetes failed, when its pod says nothing ---
    Rule(
        where="job.condition",
        reasons=frozenset({"DeadlineExceeded"}),
        reason="DeadlineExceeded",
        verdict="application",
        explanation="The cluster job was active for longer than its deadline.",
        source="batch/v1 types.go",
    ),
    Rule(
        where="job.condition",
        reason="PodLost",
        verdict="retry_free",
        explanation="The pod of the job is gone and left no outcome ({message}).",
        source="batch/v1 types.go; pod deleted or never seen",
    ),
)

_X: dict[str, tuple[Rule, ...]] = {
    where: tuple(rule for rule in RULES if rule.where == where) for where in {rule.where for rule in RULES}
}


def classify(where: Where, reason: str, message: str, **place: object) -> Finding | None:
    """Return what the table says about a signal, or None when no rule knows it (then it waits).

    `place` fills the explanation: container, exit_code, signal, node.
    """
    for rule in _X.get(where, ()):
        if rule.fits(reason, message):
            return finding(rule, message, **place)
    return None


def finding(rule: Rule, message: str, **place: object) -> Finding:
    """Return a finding with its explanation filled in; long messages are shortened to their first 500 characters."""
    known: dict[str, object] = {"container": "main", "exit_code": "", "signal": "", "node": "(none)"}
    known.update({key: value for key, value in place.items() if value not in (None, "")})
    text = message.strip().rstrip(".")
    known["message"] = text[:500] + "…" if len(text) > 500 else text or "no message"
    return Finding(rule=rule, explanation=rule.explanation.format_map(known))


def severity(verdict):
    return ("wait","retry_free","application","fail_after_grace","fail_now").index(verdict)

class Table:
    def classify(self, where, reason, message, *, exit_code=None, **place):
        return classify(where, reason, message, **place)

TABLE = Table()
