"""The manual page of a category, as sections of lines: what `kjr explain` prints and docs/failures is written from."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from kube_job_runner.domain.failures import RULES, Rule
from kube_job_runner.domain.failures.categories.category import WHOSE, Category, consequence


class Signal(msgspec.Struct, frozen=True, kw_only=True):
    """A rule that leads to a category, in words."""

    rule: str
    seen_at: str
    reasons: str
    verdict: str
    source: str


class Manual(msgspec.Struct, frozen=True, kw_only=True):
    """A manual page. `handling` says what is done when it happens, `remedy` what the reader can do."""

    category: Category
    whose: str
    handling: tuple[str, ...]
    signals: tuple[Signal, ...]


def page(category: Category, rules: Iterable[Rule] = RULES) -> Manual:
    """Return the manual page of a category; `rules` are those that may lead to it."""
    own = [rule for rule in rules if rule.category == category.name]
    verdicts = dict.fromkeys(([category.verdict] if category.verdict else []) + [rule.verdict for rule in own])
    handling = tuple(f"{verdict}: {consequence(verdict)}" for verdict in verdicts) or (consequence(None),)
    return Manual(
        category=category,
        whose=WHOSE[category.whose],
        handling=handling,
        signals=tuple(_signal(rule) for rule in own),
    )


def _signal(rule: Rule) -> Signal:
    told = [*sorted(rule.reasons)]
    if rule.exit_codes:
        told.append(
            "an exit code" if len(rule.exit_codes) > 3 else f"exit code {', '.join(map(str, sorted(rule.exit_codes)))}"
        )
    if rule.pattern is not None:
        told.append("by its message")
    verdict = f"{rule.verdict} ({rule.grace} grace)" if rule.grace else rule.verdict
    return Signal(rule=rule.name, seen_at=rule.where, reasons=", ".join(told), verdict=verdict, source=rule.source)
