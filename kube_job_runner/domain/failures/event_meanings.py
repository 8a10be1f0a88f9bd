"""Event meanings: which signals of a status a Kubernetes Event repeats, and which part of a message is about the signal.

Most Kubernetes Events repeat what a status says, with a prefix. The rows for the status then decide about the Event too.
"""

import re
from collections.abc import Iterator

from kube_job_runner.domain.failures.rule import Where

_COMBINED = re.compile(r"^\(combined from similar events\): ")
_CREATING = re.compile(r"^Error creating: ")
_PULL = re.compile(r'^Failed to (?:re-?)?pull image "[^"]*": ?', re.IGNORECASE)
_PULL_STATES = re.compile(
    r"^Error: (ErrImagePull|ImagePullBackOff|InvalidImageName|ErrImageNeverPull|ImageInspectError|"
    r"SignatureValidationFailed|RegistryUnavailable)\b:? ?"
)
_ERROR = re.compile(r"^Error: ")
# Not `OCI runtime exec failed`: that is what a program says of its own `docker exec`.
_NOT_CREATED = re.compile(
    r"(failed to (create|start) (containerd |shim )?(task|container): |OCI runtime create failed: )"
)
_PREEMPTION = re.compile(r"preemption:|(?<=\.) not found\W*$", re.IGNORECASE)
_HOOK = re.compile(r"^Internal (PreCreate|PreStart)Container hook failed: ?")
_SAME_ELSEWHERE: dict[str, tuple[Where, str]] = {
    "ErrImageNeverPull": ("container.waiting", "ErrImageNeverPull"),
    "FailedScheduling": ("pod.condition", "Unschedulable"),
    "Evicted": ("pod.status", "Evicted"),
    "Preempted": ("pod.status", "Preempted"),
    "Preempting": ("pod.status", "Preempting"),
    "FailedPostStartHook": ("container.waiting", "PostStartHookError"),
    "BackoffLimitExceeded": ("job.condition", "BackoffLimitExceeded"),
    "DeadlineExceeded": ("job.condition", "DeadlineExceeded"),
    "PodFailurePolicy": ("job.condition", "PodFailurePolicy"),
    "MaxFailedIndexesExceeded": ("job.condition", "MaxFailedIndexesExceeded"),
    "UnexpectedAdmissionError": ("pod.status", "UnexpectedAdmissionError"),
    "TopologyAffinityError": ("pod.status", "TopologyAffinityError"),
    "NodeShutdown": ("pod.status", "NodeShutdown"),
    "NodeAffinity": ("pod.status", "NodeAffinity"),
    "NodeLost": ("pod.status", "NodeLost"),
}


def meanings(where: Where, reason: str, message: str) -> Iterator[tuple[Where, str, str]]:
    """Yield the signals, as (where, reason, message), that a signal means: itself, and those that its text repeats."""
    if where == "container.terminated":
        yield from _ended(reason, message)
        return
    if where != "event":
        yield where, reason, _without_preemption(message) if reason == "Unschedulable" else message
        return
    message = _COMBINED.sub("", message)
    if reason in _SAME_ELSEWHERE:
        yield *_SAME_ELSEWHERE[reason], _without_preemption(message) if reason == "FailedScheduling" else message
    elif reason == "FailedCreate":
        yield "api", "", _CREATING.sub("", message)
    elif reason == "InspectFailed":
        invalid = "invalid reference" in message or "couldn't parse" in message
        yield "container.waiting", "InvalidImageName" if invalid else "ImageInspectError", message
    elif reason == "BackOff":
        restarting = "restarting" in message
        yield "container.waiting", "CrashLoopBackOff" if restarting else "ImagePullBackOff", message
    elif reason == "Failed":
        yield from _failed(message)
    yield "event", reason, message


def _failed(message: str) -> Iterator[tuple[Where, str, str]]:
    pull = _PULL.match(message)
    state = _PULL_STATES.match(message)
    hook = _HOOK.match(message)
    if pull:
        yield "container.waiting", "ErrImagePull", message[pull.end() :]
    elif state:
        yield "container.waiting", state[1], message[state.end() :]
    elif hook:
        yield "container.waiting", f"{hook[1]}HookError", message[hook.end() :]
    elif _ERROR.match(message):
        yield "container.waiting", "CreateContainerError", _ERROR.sub("", message)


def _ended(reason: str, message: str) -> Iterator[tuple[Where, str, str]]:
    # A runtime that puts its own error under the reason `Error` means what others call `StartError`.
    if reason == "Error" and _NOT_CREATED.match(message):
        yield "container.terminated", "StartError", message
    yield "container.terminated", reason, message


def _without_preemption(message: str) -> str:
    """Return what the scheduler says of the pod itself, without its words about preemption.

    Its message is that of the filters, then ". " and that of the preemption (framework.FitError, DefaultPreemption.PostFilter),
    which since 1.32 may be just "not found".
    """
    return _PREEMPTION.split(message, maxsplit=1)[0]
