"""A category of failures, other ends, or waiting: who is responsible, what happened, what to do."""

from typing import Literal

import msgspec

from kube_job_runner.domain.failures import codes
from kube_job_runner.domain.failures.rule import Action

Owner = Literal["user", "platform", "cluster", "external"]
WHOSE: dict[Owner, str] = {
    "user": "the job's: its author can fix it",
    "platform": "this installation's: the operator of kube-job-runner can fix it",
    "cluster": "the cluster's: the operator of Kubernetes can fix it, or it passes",
    "external": "of something outside the cluster, such as a registry or a storage",
}


class Category(msgspec.Struct, frozen=True, kw_only=True):
    """A category of ends, or of waiting.

    `name` is in snake_case; `code` is the public reason code in records, metrics and answers. `verdict` is the usual verdict of
    the rules that lead to it, None where no rule does.
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


def category(
    whose: Owner, name: str, title: str, happened: str, *remedy: str, verdict: Action | None = None, settings: str = ""
) -> Category:
    """Return a category. Several `settings` are separated by spaces."""
    return Category(
        name=name,
        title=title,
        whose=whose,
        happened=happened,
        remedy=remedy,
        verdict=verdict,
        settings=tuple(settings.split()),
    )
