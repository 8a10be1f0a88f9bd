"""Checks of an installation, as `kjr doctor` makes them: their results, each with a remedy."""

from typing import Literal

import msgspec

ClusterUse = Literal["create", "watch_jobs", "watch_pods", "read_logs", "reconcile"]
"""What a component does with the cluster. It needs the rights for that."""


class CheckResult(msgspec.Struct, frozen=True):
    """One check: `ok`, `warn` (it works, but needs attention) or `fail` (it does not work)."""

    name: str
    level: Literal["ok", "warn", "fail"]
    text: str
    remedy: str = ""


def ok(name: str, text: str) -> CheckResult:
    """Return the result of something that works."""
    return CheckResult(name, "ok", text)


def warn(name: str, text: str, remedy: str) -> CheckResult:
    """Return the result of something that works, but needs attention."""
    return CheckResult(name, "warn", text, remedy)


def fail(name: str, text: str, remedy: str) -> CheckResult:
    """Return the result of something that does not work."""
    return CheckResult(name, "fail", text, remedy)
