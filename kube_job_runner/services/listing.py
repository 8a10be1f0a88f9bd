"""Lists of jobs: label selectors, cursors."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterator
from uuid import UUID

LabelTerm = tuple[str, str, tuple[str, ...]]

# labels.Parse, apimachinery/pkg/labels/selector.go: requirements joined by commas, `!=` and `notin` also match objects
# without the key. The patterns are those of label keys and values (IsQualifiedName, IsValidLabelValue).
_NAME = r"[A-Za-z0-9](?:[-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?"
_KEY = rf"(?:[a-z0-9](?:[-a-z0-9.]{{0,251}}[a-z0-9])?/)?{_NAME}"
_VALUES = rf"\( ?(?:{_NAME})?(?: ?, ?(?:{_NAME})?)* ?\)"
_TERM = rf"(?:! ?{_KEY}|{_KEY}(?: ?(?:=|==|!=) ?(?:{_NAME})?| (?:in|notin) ?{_VALUES})?)"
SELECTOR_PATTERN = rf"^ ?(?:{_TERM}(?: ?, ?{_TERM}){{0,31}} ?)?$(?!\n)"
SELECTOR_MAX_LENGTH = 4096
SELECTOR_TERMS_MAX = 32

_term = re.compile(
    rf"\s*(?:!\s*(?P<absent>{_KEY})|(?P<key>{_KEY})"
    rf"(?:\s*(?P<operator>==|=|!=)\s*(?P<value>(?:{_NAME})?)|\s+(?P<set>in|notin)\s*\((?P<values>[^()]*)\))?)\s*(?:,|$)"
)
_name = re.compile(_NAME)


class SelectorError(ValueError):
    """The label selector cannot be read; the message says at which character, and why."""


def parse_selector(text: str) -> tuple[LabelTerm, ...]:
    """Return the terms of a label selector in Kubernetes' grammar (`a=b,c!=d,e in (f,g),h notin (i),j,!k`).

    Raises:
        SelectorError: it is not in the grammar, or has more than 32 terms.
    """
    if not text.strip():
        return ()
    terms = tuple(_terms(text))
    if len(terms) > SELECTOR_TERMS_MAX:
        raise SelectorError(f"has {len(terms)} terms; the limit is {SELECTOR_TERMS_MAX}")
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


CURSOR_PATTERN = r"^[A-Za-z0-9_-]{21}[AQgw]$(?!\n)"


def encode_cursor(last_id: UUID) -> str:
    """Return the opaque cursor of the page after the job `last_id`."""
    return base64.urlsafe_b64encode(last_id.bytes).decode("ascii").rstrip("=")


def decode_cursor(cursor: str) -> UUID:
    """Return the id that a cursor stands for.

    Raises:
        ValueError: it is not a cursor of ours.
    """
    if not re.match(CURSOR_PATTERN, cursor):
        raise ValueError("is not a cursor; take `next_cursor` of the last page as it is")
    try:
        return UUID(bytes=base64.urlsafe_b64decode(cursor + "=="))
    except (binascii.Error, ValueError) as error:
        raise ValueError("is not a cursor") from error
