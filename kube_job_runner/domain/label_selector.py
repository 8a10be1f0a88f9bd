"""Label selectors in Kubernetes' grammar: `a=b,c!=d,e in (f,g),h notin (i),j,!k`.

Source: labels.Parse, apimachinery/pkg/labels/selector.go. Commas join requirements; `!=` and `notin` also match objects
without the key. The patterns of keys and values are IsQualifiedName and IsValidLabelValue.
"""

import re
from collections.abc import Iterator

LabelTerm = tuple[str, str, tuple[str, ...]]
"""Key, operator (`in`, `notin`, `exists`, `!exists`) and values of one requirement."""

_NAME = r"[A-Za-z0-9](?:[-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?"
_KEY = rf"(?:[a-z0-9](?:[-a-z0-9.]{{0,251}}[a-z0-9])?/)?{_NAME}"
_VALUES = rf"\( ?(?:{_NAME})?(?: ?, ?(?:{_NAME})?)* ?\)"
_TERM = rf"(?:! ?{_KEY}|{_KEY}(?: ?(?:=|==|!=) ?(?:{_NAME})?| (?:in|notin) ?{_VALUES})?)"
PATTERN = rf"^ ?(?:{_TERM}(?: ?, ?{_TERM}){{0,31}} ?)?$(?!\n)"
MAX_LENGTH = 4096
TERMS_MAX = 32

_term = re.compile(
    rf"\s*(?:!\s*(?P<absent>{_KEY})|(?P<key>{_KEY})"
    rf"(?:\s*(?P<operator>==|=|!=)\s*(?P<value>(?:{_NAME})?)|\s+(?P<set>in|notin)\s*\((?P<values>[^()]*)\))?)\s*(?:,|$)"
)
_name = re.compile(_NAME)


class SelectorError(ValueError):
    """The label selector cannot be read. The message says at which character, and why."""


def parse(text: str) -> tuple[LabelTerm, ...]:
    """Return the terms of a label selector in Kubernetes' grammar (`a=b,c!=d,e in (f,g),h notin (i),j,!k`).

    Raises:
        SelectorError: it is not in the grammar, or has more than 32 terms.
    """
    if not text.strip():
        return ()
    terms = tuple(_terms(text))
    if len(terms) > TERMS_MAX:
        raise SelectorError(f"has {len(terms)} terms; the limit is {TERMS_MAX}")
    return terms


def _terms(text: str) -> Iterator[LabelTerm]:
    position = 0
    ended_by_comma = True
    while position < len(text) or ended_by_comma:
        match = _term.match(text, position)
        if match is None:
            raise SelectorError(f"cannot be read at character {position + 1}: {text[position : position + 40]!r}")
        yield _one_term(match)
        position = match.end()
        ended_by_comma = match[0].endswith(",")


def _one_term(match: re.Match[str]) -> LabelTerm:
    if match["absent"]:
        return (match["absent"], "!exists", ())
    key = match["key"]
    if match["operator"]:
        return (key, "notin" if match["operator"] == "!=" else "in", (match["value"],))
    if match["set"]:
        values = tuple(value.strip() for value in match["values"].split(","))
        for value in values:
            if value and not _name.fullmatch(value):
                raise SelectorError(f"{value!r} is not a label value (at character {match.start('values') + 1})")
        return (key, match["set"], values)
    return (key, "exists", ())
