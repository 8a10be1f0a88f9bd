"""The manual page of a category, as sections of lines: the source of `kjr explain CODE` and of docs/failures."""

from collections.abc import Iterable

import msgspec

from kube_job_runner.domain.failures import ends, refusals
from kube_job_runner.domain.failures.categories.category import WHOSE, Category
from kube_job_runner.domain.failures.rule import Action, Rule
from kube_job_runner.domain.failures.table import RULES
from kube_job_runner.domain.job import Cause
from kube_job_runner.domain.states import State

_RETRY_POLICY = "The retry policy of the job decides whether there is another attempt."
_BY_VERDICT: dict[Action, str] = {
    "fail_now": "The job fails at once, because waiting cannot fix it.",
    "fail_after_grace": "The job fails when the fault lasts longer than its grace, which begins when it is first seen.",
    "wait": "The job waits, up to its start timeout.",
    "retry_free": (
        "The job waits for the grace while the node may still retry. After the grace, or when the pod has ended, there is a "
        "new attempt that does not count against the job's retries."
    ),
    "application": _RETRY_POLICY,
}
_BY_CAUSE: dict[Cause, str] = {
    "permanent": "The job fails; there is no other attempt.",
    "application": _RETRY_POLICY,
    "infrastructure": "There is a new attempt that does not count against the job's retries.",
}
_RECORDED = "It is recorded as it is."
_REFUSED = "The job fails at once, because the cluster will never accept the request."
_RETRIED = "The request is retried, with growing pauses. Until it succeeds, the job waits."


class Signal(msgspec.Struct, frozen=True, kw_only=True):
    """A rule that leads to a category, in words."""

    rule: str
    seen_at: str
    reasons: str
    verdict: str
    source: str


class Manual(msgspec.Struct, frozen=True, kw_only=True):
    """A manual page. `handling` says what kube-job-runner does, `remedy` what the reader can do."""

    category: Category
    whose: str
    handling: tuple[str, ...]
    signals: tuple[Signal, ...]


def page(category: Category, rules: Iterable[Rule] = RULES) -> Manual:
    """Return the manual page of a category; `rules` are those that may lead to it."""
    own = [rule for rule in rules if rule.category == category.name]
    return Manual(
        category=category,
        whose=WHOSE[category.whose],
        handling=_handling(category, own),
        signals=tuple(_signal(rule) for rule in own),
    )


def _handling(category: Category, own: list[Rule]) -> tuple[str, ...]:
    usual: list[Action] = [category.verdict] if category.verdict else []
    verdicts = dict.fromkeys([*usual, *(rule.verdict for rule in own)])
    if verdicts:
        return tuple(f"{verdict}: {_BY_VERDICT[verdict]}" for verdict in verdicts)
    refusal = next((one for one in refusals.REFUSALS if one.category == category.name), None)
    if refusal is not None:
        retried = not refusal.permanent or refusal is refusals.FORBIDDEN  # jobs wait for a right that we lack
        return (_RETRIED if retried else _REFUSED,)
    end = ends.BY_CATEGORY.get(category.name)
    if end is None or end.outcome is not State.FAILED:
        return (_RECORDED,)
    return (_BY_CAUSE[end.cause or "permanent"],)


def _signal(rule: Rule) -> Signal:
    reasons = sorted(rule.reasons)
    if rule.exit_codes:
        listed = ", ".join(map(str, sorted(rule.exit_codes)))
        reasons.append("an exit code" if len(rule.exit_codes) > 3 else f"exit code {listed}")
    if rule.pattern is not None:
        reasons.append("by its message")
    verdict = f"{rule.verdict} ({rule.grace} grace)" if rule.grace else rule.verdict
    return Signal(rule=rule.name, seen_at=rule.where, reasons=", ".join(reasons), verdict=verdict, source=rule.source)
