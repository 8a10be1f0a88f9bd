"""Custom failure rules of an installation: read from a list of mappings and checked field by field."""

import re
import string
from collections.abc import Mapping, Sequence
from typing import Any

from kube_job_runner.domain.failures.rule import VERDICTS, WHERES, Action, Grace, Rule, Where

PATTERN_MAX_CHARACTERS = 500
RULES_MAX = 200
_GRACE_MAX_SECONDS = 86_400.0
_EXPLANATION_MAX_CHARACTERS = 1000
_FIELDS = ("name", "where", "reason", "pattern", "category", "verdict", "grace_seconds", "explanation")
_NAME = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
_CATEGORY = re.compile(r"[a-z][a-z0-9]*(_[a-z0-9]+)*")
_REASON = re.compile(r"[A-Za-z][A-Za-z0-9._/-]{0,127}")
_CLASSES: dict[str, Grace] = {"fail_after_grace": "config", "retry_free": "infrastructure"}
_PLACES = ("container", "exit_code", "signal", "message", "said", "node", "reason")
# On a message that almost fits, a nested repeat or several endless repeats in a row may take practically for ever.
_REPEAT = r"(?:[*+]|\{\d*,\d*\}|\{\d+\})"
_NESTED = re.compile(rf"\([^()]*(?:\||{_REPEAT})[^()]*\){_REPEAT}")
_GROUP = re.compile(r"\(([^()]*)\)")
_BUSY = re.compile(rf"\||{_REPEAT}")
_ENDLESS = re.compile(r"[*+]|\{\d+,\}")
_LITERAL = re.compile(r"\\.|\[\^?\]?(?:\\.|[^\]\\])*\]", re.DOTALL)
ENDLESS_MAX = 2


class RulesError(ValueError):
    """A custom failure rule is wrong. The message names the rule, the field, the limit and the remedy."""


def parse_custom(data: object) -> tuple[Rule, ...]:
    """Return the rules of a list of mappings. A rule without `where` holds at every place.

    Required fields are `pattern` (a regular expression, searched anywhere in the message, in any case) and `verdict`. Optional
    fields are `name`, `where`, `reason`, `category`, `grace_seconds` and `explanation`.

    Raises:
        RulesError: a rule is wrong.
    """
    if isinstance(data, Mapping) and set(data) == {"rules"}:
        data = data["rules"]
    if data is None:
        return ()
    if not isinstance(data, Sequence) or isinstance(data, str | bytes):
        raise RulesError(f"failure rules must be a list of mappings, not {type(data).__name__}; write `- pattern: ...`")
    if len(data) > RULES_MAX:
        raise RulesError(f"there are {len(data)} failure rules; {RULES_MAX} is the limit: join some patterns with `|`")
    rules = [rule for index, item in enumerate(data) for rule in _parse(index, item)]
    _refuse_duplicate_names(data)
    return tuple(rules)


def _refuse_duplicate_names(data: Sequence[Any]) -> None:
    seen: dict[str, int] = {}
    for index, item in enumerate(data):
        name = item.get("name")
        if name is not None and name in seen:
            raise _wrong(index, "name", f"{name!r} is also the name of rule {seen[name]}; give each rule its own")
        if name is not None:
            seen[name] = index


def _wrong(index: int, field: str, problem: str) -> RulesError:
    return RulesError(f"failure rule {index}: {field}: {problem}")


def _parse(index: int, item: Any) -> list[Rule]:
    if not isinstance(item, Mapping):
        raise RulesError(
            f"failure rule {index}: must be a mapping with `pattern` and `verdict`, not {type(item).__name__}"
        )
    for field in item:
        if field not in _FIELDS:
            raise _wrong(index, str(field), f"no such field; there are {', '.join(_FIELDS)}")
    verdict = _verdict(index, item)
    name = _match(index, item, "name", _NAME, "lower-case letters, digits and `-`, at most 63") or f"extra-{index}"
    category = _match(index, item, "category", _CATEGORY, "lower-case words joined by `_`")
    reason = _match(index, item, "reason", _REASON, "a Kubernetes reason such as `ErrImagePull`")
    pattern, explanation = _pattern(index, item), _explanation(index, item)
    grace_seconds = _grace(index, item, verdict)
    return [
        Rule(
            name=name,
            where=where,
            reasons=frozenset({reason} if reason else ()),
            pattern=pattern,
            category=category or "custom",
            verdict=verdict,
            grace=_CLASSES.get(verdict, ""),
            grace_seconds=grace_seconds,
            explanation=explanation,
            source="a rule of this installation",
        )
        for where in _places(index, item)
    ]


def _verdict(index: int, item: Mapping[Any, Any]) -> Action:
    given = item.get("verdict")
    for verdict in VERDICTS:
        if given == verdict:
            return verdict
    said = "is missing" if given is None else f"{given!r} is not one"
    raise _wrong(index, "verdict", f"{said}; it must be one of {', '.join(VERDICTS)}")


def _places(index: int, item: Mapping[Any, Any]) -> tuple[Where, ...]:
    given = item.get("where")
    if given is None:
        return WHERES
    for where in WHERES:
        if given == where:
            return (where,)
    raise _wrong(
        index, "where", f"{given!r} is not a place; it must be one of {', '.join(WHERES)}, or left out for all"
    )


def _match(index: int, item: Mapping[Any, Any], field: str, form: re.Pattern[str], wanted: str) -> str:
    given = item.get(field)
    if given is None:
        return ""
    if not isinstance(given, str) or not form.fullmatch(given):
        raise _wrong(index, field, f"{given!r} does not fit; it must be {wanted}")
    return given


def _pattern(index: int, item: Mapping[Any, Any]) -> re.Pattern[str]:
    given = item.get("pattern")
    if not isinstance(given, str) or not given:
        raise _wrong(
            index, "pattern", "must be a regular expression; plain text is one, with a backslash before .()[]*+?|"
        )
    if len(given) > PATTERN_MAX_CHARACTERS:
        raise _wrong(
            index, "pattern", f"has {len(given)} characters; {PATTERN_MAX_CHARACTERS} is the limit: split the rule"
        )
    try:
        compiled = re.compile(given, re.IGNORECASE)
    except (re.error, OverflowError, RecursionError) as error:
        raise _wrong(index, "pattern", f"{given!r} is not a regular expression: {error}") from None
    bare = _LITERAL.sub("x", given)
    if _nested(bare):
        problem = "repeats a group with a repeat or a choice in it, which may never finish; write it without"
        raise _wrong(index, "pattern", problem)
    endless = len(_ENDLESS.findall(bare))
    if endless > ENDLESS_MAX:
        problem = f"has {endless} endless repeats (`*`, `+`, `{{n,}}`); {ENDLESS_MAX} is the limit: write `.{{0,100}}` instead"
        raise _wrong(index, "pattern", problem)
    return compiled


def _nested(pattern: str) -> bool:
    """Return whether a repeated group holds a repeat or a choice, from the innermost groups outwards."""
    while True:
        if _NESTED.search(pattern):
            return True
        group = _GROUP.search(pattern)
        if group is None:
            return False
        # For the group around it, a group that holds a repeat or a choice counts as one.
        pattern = pattern[: group.start()] + ("y|y" if _BUSY.search(group[1]) else "y") + pattern[group.end() :]


def _explanation(index: int, item: Mapping[Any, Any]) -> str:
    given = item.get("explanation", "{message}.")
    if not isinstance(given, str) or not given or len(given) > _EXPLANATION_MAX_CHARACTERS:
        raise _wrong(index, "explanation", f"must be a text of 1 to {_EXPLANATION_MAX_CHARACTERS} characters")
    places = ", ".join(f"{{{place}}}" for place in _PLACES)
    problem = f"may name {places} and no other; write {{{{ and }}}} for braces"
    try:
        fields = [field for _, *field in string.Formatter().parse(given) if field[0] is not None]
    except ValueError:
        raise _wrong(index, "explanation", problem) from None
    if any(name not in _PLACES or form or conversion for name, form, conversion in fields):
        raise _wrong(index, "explanation", problem)
    return given


def _grace(index: int, item: Mapping[Any, Any], verdict: Action) -> float | None:
    given = item.get("grace_seconds")
    if given is None:
        return None
    if verdict not in ("fail_after_grace", "retry_free"):
        raise _wrong(index, "grace_seconds", f"has no meaning with the verdict {verdict}; leave it out")
    if isinstance(given, bool) or not isinstance(given, int | float) or not 0 <= given <= _GRACE_MAX_SECONDS:
        raise _wrong(index, "grace_seconds", f"{given!r} is not a number of seconds from 0 to {_GRACE_MAX_SECONDS:g}")
    return float(given)
