"""What a diagnosis consists of: findings, each with what to do about it."""

from __future__ import annotations

from typing import Literal

import msgspec


class Finding(msgspec.Struct, frozen=True):
    """One thing that was looked at: `ok`, `warn` (it works, and should be looked after) or `fail` (it does not work)."""

    name: str
    level: Literal["ok", "warn", "fail"]
    text: str
    remedy: str = ""


def ok(name: str, text: str) -> Finding:
    """Return a finding of something that is well."""
    return Finding(name, "ok", text)


def warn(name: str, text: str, remedy: str) -> Finding:
    """Return a finding of something that works and should be looked after."""
    return Finding(name, "warn", text, remedy)


def fail(name: str, text: str, remedy: str) -> Finding:
    """Return a finding of something that does not work."""
    return Finding(name, "fail", text, remedy)
