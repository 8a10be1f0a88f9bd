"""A row of the failure table, and what it says about one signal."""

import functools
import re
import signal as signals
from collections.abc import Mapping
from typing import Literal, NamedTuple, get_args

import msgspec

from kube_job_runner.domain.failures import codes
from kube_job_runner.domain.failures.refusals import Refusal
from kube_job_runner.domain.job import Cause
from kube_job_runner.domain.limits import Graces

Where = Literal[
    "container.waiting", "container.terminated", "pod.status", "pod.condition", "job.condition", "event", "api"
]
Action = Literal["fail_now", "fail_after_grace", "wait", "retry_free", "application"]
Grace = Literal["", "image", "config", "registry", "runtime", "infrastructure", "volume", "admission", "scheduling"]

GRACES_SECONDS: Mapping[str, float] = {"": 0.0, **msgspec.structs.asdict(Graces())}
"""How long a signal of each class may last, by default."""

_ROOM = frozenset({"quota_exceeded", "unschedulable_capacity"})
"""Categories of what a job waits for while others use it: a quota, or the nodes."""

WHERES: tuple[Where, ...] = get_args(Where)
VERDICTS: tuple[Action, ...] = get_args(Action)
MATCHED_MAX_CHARACTERS = 8192
_SHOWN_MAX_CHARACTERS = 500
_SEVERITY: dict[Action, int] = {"wait": 0, "retry_free": 1, "application": 2, "fail_after_grace": 3, "fail_now": 4}
_CAUSES: dict[Action, Cause] = {
    "fail_now": "permanent",
    "fail_after_grace": "permanent",
    "application": "application",
    "retry_free": "infrastructure",
    "wait": "permanent",
}


def severity(verdict: Action) -> int:
    """Return how bad a verdict is. Where several containers have a fault, the worst one decides."""
    return _SEVERITY[verdict]


class Rule(msgspec.Struct, frozen=True, kw_only=True):
    """One row: a signal, its category, the verdict on it, and the text for a person.

    A signal has a place (`where`). It fits when its Kubernetes reason is one of `reasons`, its message holds the `pattern`
    and its exit code is one of `exit_codes`; an empty field fits everything. With `without_names` the pattern does not see
    the names of images and URLs.

    `name` is stable: it is stored with the verdict. `grace` is the class of the time that the signal may last. After it
    `fail_after_grace` fails the job, and `retry_free` makes a new attempt. `grace_seconds` replaces the time of the class.
    `explanation` gives cause, place and what to do. It may use {container}, {exit_code}, {signal}, {message}, {said}, {node}
    and {reason}. `source` names the Kubernetes file, or the program, whose text the row knows. `refusal` is what the signal
    means as an answer to a request of ours, where the text decides it.
    """

    name: str
    where: Where
    reasons: frozenset[str] = frozenset()
    pattern: re.Pattern[str] | None = None
    exit_codes: frozenset[int] = frozenset()
    without_names: bool = False
    category: str
    verdict: Action
    grace: Grace = ""
    grace_seconds: float | None = None
    explanation: str
    source: str
    refusal: Refusal | None = None

    @property
    def cause(self) -> Cause:
        """Whose failure the signal is, and so which budget of retries pays for it."""
        return _CAUSES[self.verdict]

    @property
    def for_room(self) -> bool:
        """Whether the job waits for room that others take now. Such waiting is queueing, and no fault of its start."""
        return self.verdict == "wait" and self.category in _ROOM

    def fits(self, reason: str, message: str, exit_code: int | None = None) -> bool:
        """Return whether the rule covers a signal of its place."""
        if self.reasons and reason not in self.reasons:
            return False
        if self.exit_codes and exit_code not in self.exit_codes:
            return False
        return self.pattern is None or self.pattern.search(message) is not None


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """What the table says about one signal. `rule` is the row that fits."""

    rule: Rule
    explanation: str

    @property
    def category(self) -> str:
        """What went wrong, in snake_case."""
        return self.rule.category

    @property
    def verdict(self) -> Action:
        """What to do about it."""
        return self.rule.verdict

    @property
    def grace(self) -> Grace:
        """The class of the time that the signal may last."""
        return self.rule.grace

    @property
    def reason(self) -> str:
        """The stable public reason code."""
        return codes.reason_code(self.rule.category)


class Ruling(NamedTuple):
    """What a row says about its signal: the verdict, the category, and the class of the time that the signal may last."""

    verdict: Action
    category: str
    grace: Grace = ""


fail_now = functools.partial(Ruling, "fail_now")
fail_after_grace = functools.partial(Ruling, "fail_after_grace")
retry_free = functools.partial(Ruling, "retry_free")
wait = functools.partial(Ruling, "wait")
application = functools.partial(Ruling, "application")


def grace_seconds(rule: Rule, graces: Mapping[str, float] = GRACES_SECONDS) -> float:
    """Return how long the signal of a rule may last: the rule's own time, or the time of its class in `graces`."""
    if rule.grace_seconds is not None:
        return rule.grace_seconds
    return graces.get(rule.grace, GRACES_SECONDS[rule.grace])


def finding(rule: Rule, message: str, *, reason: str = "", exit_code: int | None = None, **place: object) -> Finding:
    """Return a finding with its explanation filled in. Of a long message the first 500 characters are shown."""
    known: dict[str, object] = {"container": "main", "node": "(none)", "reason": reason or "none"}
    known["exit_code"] = "unknown" if exit_code is None else exit_code
    known.update({key: value for key, value in place.items() if value not in (None, "")})
    known["signal"] = signal_name(known.get("signal"), exit_code)
    shown = " ".join(message[:MATCHED_MAX_CHARACTERS].split()).rstrip(".")
    if len(shown) > _SHOWN_MAX_CHARACTERS:
        shown = shown[:_SHOWN_MAX_CHARACTERS] + "…"
    known["message"] = shown or "no message"
    known["said"] = f" It said: {shown}." if shown else ""
    return Finding(rule=rule, explanation=rule.explanation.format_map(known))


def signal_name(given: object, exit_code: int | None = None) -> str:
    """Return the name of a signal, given its number or the exit code 128 + number."""
    number = given if isinstance(given, int) else (exit_code or 0) - 128
    try:
        return signals.Signals(number).name
    except ValueError:
        return f"signal {number}" if number > 0 else "a signal"
