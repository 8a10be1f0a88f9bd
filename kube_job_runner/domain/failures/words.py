"""Words that people bring from Kubernetes (`OOMKilled`, `ImagePullBackOff`) and exit codes, and the categories they lead to.

The words are those of the failure rules. A word that says less than a category has a sentence that says how to go on.
"""

import signal
from collections.abc import Iterable

import msgspec

from kube_job_runner.domain.failures import codes
from kube_job_runner.domain.failures.categories import BY_NAME
from kube_job_runner.domain.failures.rule import Rule
from kube_job_runner.domain.failures.table import RULES

_SAME = {"oom": "oomkilled", "pending": "unschedulable"}
_SENTENCES = {
    "imagepullbackoff": "The kubelet failed to pull the image, and waits before the next try. The message of the pull says why.",
    "errimagepull": "The kubelet failed to pull the image. The message of the pull says why.",
    "crashloopbackoff": "A container ends again and again. A job's container is not restarted, so its program has ended.",
    "backofflimitexceeded": "Kubernetes says only that the pod of the Job failed. The state of the pod says why.",
    "evicted": "The node or the cluster ended the pod. The message of the pod says why.",
    "unschedulable": "No node takes the pod yet. The message of the scheduler says why.",
    "createcontainererror": "The container could not be created. The message says why.",
    "createcontainerconfigerror": "The container could not be created. The message says why.",
    "runcontainererror": "The container could not be started. The message says why.",
    "starterror": "The container could not be started. The message says why.",
    "containercannotrun": "The container could not be started. The message says why.",
}
_ENDS_OF_A_POD = ("application_exit", "killed_by_signal", "out_of_memory", "disrupted", "node_lost", "pod_lost")
_SIGNAL_BASE, _SIGNAL_MAX, _EXIT_MAX = 128, 64, 255


class Meaning(msgspec.Struct, frozen=True, kw_only=True):
    """What a word or an exit code says, in a sentence ("" if its only category says it), and the categories it leads to."""

    sentence: str
    categories: tuple[str, ...]


def meaning(text: str, rules: Iterable[Rule] = RULES) -> Meaning | None:
    """Return what a word of Kubernetes or an exit code (0 to 255) means here; None if it is neither."""
    if text.isdecimal() and text.isascii() and len(text) <= len(str(_EXIT_MAX)):
        return _of_exit_code(int(text)) if int(text) <= _EXIT_MAX else None
    key = codes.key(text)
    key = _SAME.get(key, key)
    if key == "backofflimitexceeded":
        return Meaning(sentence=_SENTENCES[key], categories=tuple(name for name in _ENDS_OF_A_POD if name in BY_NAME))
    names = dict.fromkeys(rule.category for rule in rules if any(codes.key(word) == key for word in rule.reasons))
    found = tuple(name for name in names if name in BY_NAME and name != "unknown")
    if not found:
        return None
    return Meaning(sentence=_SENTENCES.get(key, ""), categories=found)


def _of_exit_code(code: int) -> Meaning:
    if code == 0:
        return Meaning(sentence="The program ended with exit code 0: success.", categories=("completed",))
    if code == 126:
        return Meaning(
            sentence="A shell exits with 126 when a command is not executable. A program may use it too.",
            categories=("application_exit", "command_not_executable"),
        )
    if code == 127:
        return Meaning(
            sentence="A shell exits with 127 when it does not find a command. A program may use it too.",
            categories=("application_exit", "command_not_found"),
        )
    number = code - _SIGNAL_BASE
    if not 0 < number <= _SIGNAL_MAX:
        return Meaning(
            sentence=f"The program chose exit code {code}; its log says why.", categories=("application_exit",)
        )
    name = _signal_name(number)
    if number == signal.SIGKILL:
        return Meaning(
            sentence=f"{code} is 128 + {number}: {name} ended the program. The kernel sends it when memory is full, the kubelet "
            "after the grace period of a stop.",
            categories=("out_of_memory", "killed_by_signal", "run_timeout", "disrupted"),
        )
    return Meaning(
        sentence=f"{code} is 128 + {number}: {name} ended the program, or the program chose this exit code.",
        categories=("killed_by_signal", "application_exit"),
    )


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
