"""The failure table: all rows in their order, and the search through them."""

import re
from collections.abc import Iterable

from kube_job_runner.domain.failures import event_meanings
from kube_job_runner.domain.failures.rule import MATCHED_MAX_CHARACTERS, Finding, Rule, Where, finding
from kube_job_runner.domain.failures.rules import (
    api_answers,
    container_exits,
    container_starts,
    event_texts,
    job_conditions,
    pod_ends,
    pulls,
    scheduling,
)

RULES: tuple[Rule, ...] = (
    *pulls.RULES,
    *container_starts.RULES,
    *container_exits.RULES,
    *pod_ends.RULES,
    *scheduling.RULES,
    *pod_ends.OTHERS,
    *job_conditions.RULES,
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
# The kubelet's words in the place of the program's last ones (kuberuntime_container.go, getTerminationMessage).
_NOT_SAID = re.compile(r"Error on reading termination (message from logs|log )")
_LOADER_SECONDS = 1.0  # the times of a container are in whole seconds
# CRI-O reports failed mirrors before the image, and a failed artifact of the same name after it. Neither is the cause.
_ASIDES = re.compile(r"\(Mirrors also failed: \[.*?\]\):?|; artifact err: .*", re.IGNORECASE | re.DOTALL)


def without_names(message: str) -> str:
    """Return a message without the names of images and URLs: an image may be called `team/unauthorized-404`."""
    return _NAMES.sub('"…"', _ASIDES.sub("", message))


class Table:
    """Rules in order. Custom rules come before all others and see messages unchanged."""

    def __init__(self, rules: Iterable[Rule], custom: Iterable[Rule] = ()) -> None:
        self._rules = _by_place(rules)
        self._custom = _by_place(custom)

    def classify(
        self,
        where: Where,
        reason: str,
        message: str,
        *,
        exit_code: int | None = None,
        ran_seconds: float | None = None,
        **place: object,
    ) -> Finding | None:
        """Return what the table says about a signal, or None when no rule knows it (then the job waits).

        `ran_seconds` is how long the container ran that ended; None if it is not known to have started. One that ran has
        started, whatever its last words are: the program wrote them. `place` fills the explanation: container, node, signal.
        The first 8192 characters of a message are matched.
        """
        matched = message[:MATCHED_MAX_CHARACTERS]
        rule = self._custom_rule(where, reason, matched, exit_code)
        if where == "container.terminated" and _NOT_SAID.match(message):
            message = matched = ""
        rule = rule or self._rule(where, reason, matched, exit_code, ran_seconds)
        return None if rule is None else finding(rule, message, reason=reason, exit_code=exit_code, **place)

    def _custom_rule(self, where: Where, reason: str, message: str, exit_code: int | None) -> Rule | None:
        return next((rule for rule in self._custom.get(where, ()) if rule.fits(reason, message, exit_code)), None)

    def _rule(
        self, where: Where, reason: str, message: str, exit_code: int | None, ran_seconds: float | None
    ) -> Rule | None:
        ran = ran_seconds is not None and ran_seconds > _LOADER_SECONDS
        for meant_where, meant_reason, meant_message in event_meanings.meanings(where, reason, message):
            if ran_seconds is not None and meant_reason != reason:
                continue  # a start that failed, told by text only
            bare = without_names(meant_message)
            for rule in self._rules.get(meant_where, ()):
                if ran and rule.pattern is not None:
                    continue
                if rule.fits(meant_reason, bare if rule.without_names else meant_message, exit_code):
                    return rule
        return None


def _by_place(rules: Iterable[Rule]) -> dict[Where, list[Rule]]:
    places: dict[Where, list[Rule]] = {}
    for rule in rules:
        places.setdefault(rule.where, []).append(rule)
    return places


TABLE = Table(RULES)
classify = TABLE.classify
