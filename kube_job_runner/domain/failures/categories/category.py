"""What is known of a category of ends: whose it is, what it means, what to do."""

from __future__ import annotations

from typing import Literal

import msgspec

from kube_job_runner.domain.failures import codes
from kube_job_runner.domain.failures.rule import Action

Owner = Literal["user", "platform", "cluster", "external"]
WHOSE: dict[Owner, str] = {
    "user": "the job's: whoever wrote it can mend it",
    "platform": "this installation's: whoever runs kube-job-runner can mend it",
    "cluster": "the cluster's: whoever runs Kubernetes can mend it, or it passes",
    "external": "of something outside the cluster, such as a registry or a storage",
}


class Category(msgspec.Struct, frozen=True, kw_only=True):
    """A category of ends, or of waiting.

    `name` is in snake_case; `code` is the public reason code in records, metrics and answers. `verdict` is the usual one
    of the rules that lead to it; None where only the life of a job itself does, without a rule.
    """

    name: str
    title: str
    whose: Owner
    happened: str
    remedy: tuple[str, ...]
    verdict: Action | None
    settings: tuple[str, ...] = ()

    @property
    def code(self) -> str:
        """The stable public reason code."""
        return codes.reason_code(self.name)


_BY_VERDICT: dict[Action | None, str] = {
    "fail_now": "The job fails at once; nothing that only waits could mend it.",
    "fail_after_grace": "The job fails when the fault lasts longer than its grace; time is counted from when it was first seen.",
    "wait": "The job waits, up to its start timeout.",
    "retry_free": (
        "While the node may still try, the job waits for the grace; then, or when the pod has ended, a new "
        "attempt is made "
        "that does not count against the job's retries."
    ),
    "application": "The retry policy of the job decides whether there is another attempt.",
    None: "It is recorded as it is; no failure rule is involved.",
}


def consequence(verdict: Action | None) -> str:
    """Return in words what a verdict leads to."""
    return _BY_VERDICT[verdict]
