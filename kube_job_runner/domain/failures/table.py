"""The table: all rows, and the search through them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from kube_job_runner.domain.failures.rule import MATCHED_MAX_CHARACTERS, Finding, Rule, Where, finding
from kube_job_runner.domain.failures.rules import (
    api_answers,
    container_starts,
    event_texts,
    exits,
    pulls,
    scheduling,
)

RULES: tuple[Rule, ...] = (
    *pulls.RULES,
    *container_starts.RULES,
    *exits.RULES,
    *scheduling.RULES,
    *api_answers.RULES,
    *event_texts.RULES,
)

_NAMES = re.compile(
    r"""
    "[^"\s]*[/:@][^"\s]*"                                # quoted, with a part that only names have
    | \b(?:https?|docker)://[^\s"\\]+                    # URLs
    | (?<![\w/."-])(?:[\w-]+(?:\.[\w-]+)+(?::\d+)?|[\w-]+:\d+|localhost)/[\w./@:-]+   # host/path:tag
    | (?<=reading\ manifest\ )\S+ | \[(?:manifests|blobs)\ [^\]]*\]                     # a tag or digest alone
    """,
    re.VERBOSE,
)
# CRI-O says first what became of the mirrors, and after the image what became of an artifact of that name: neither counts.
_ASIDES = re.compile(r"\(Mirrors also failed: \[.*?\]\):?|; artifact err: .*", re.IGNORECASE | re.DOTALL)


def without_names(message: str) -> str:
    """Return a message without the names of images and URLs in it: an image may be called `team/unauthorized-404`."""
    return _NAMES.sub('"…"', _ASIDES.sub("", message))


class Table:
    """Rules in order; `extra` rules come before all others and see messages as they are."""

    def __init__(self, rules: Iterable[Rule], extra: Iterable[Rule] = ()) -> None:
        self.rules = tuple(rules)
        self.extra = tuple(extra)
        self._rules = _by_place(self.rules)
        self._extra = _by_place(self.extra)

    def classify(
        self, where: Where, reason: str, message: str, *, exit_code: int | None = None, **place: object
    ) -> Finding | None:
        """Return what the table says about a signal, or None when no rule knows it (then it waits).

        `place` fills the explanation: container, node, signal. Of a message the first 8192 characters are matched.
        """
        rule = self._rule(where, reason, message[:MATCHED_MAX_CHARACTERS], exit_code)
        return None if rule is None else finding(rule, message, reason=reason, exit_code=exit_code, **place)

    def _rule(self, where: Where, reason: str, message: str, exit_code: int | None) -> Rule | None:
        for rule in self._extra.get(where, ()):
            if rule.fits(reason, message, exit_code):
                return rule
        signals: Iterator[tuple[Where, str, str]] = event_texts.meanings(where, reason, message)
        for meant_where, meant_reason, meant_message in signals:
            bare = without_names(meant_message)
            for rule in self._rules.get(meant_where, ()):
                if rule.fits(meant_reason, bare if rule.without_names else meant_message, exit_code):
                    return rule
        return None


def _by_place(rules: tuple[Rule, ...]) -> dict[str, tuple[Rule, ...]]:
    return {where: tuple(rule for rule in rules if rule.where == where) for where in {rule.where for rule in rules}}


TABLE = Table(RULES)


def classify(
    where: Where, reason: str, message: str, *, exit_code: int | None = None, **place: object
) -> Finding | None:
    """Return what the built-in table says about a signal; see `Table.classify`."""
    return TABLE.classify(where, reason, message, exit_code=exit_code, **place)
