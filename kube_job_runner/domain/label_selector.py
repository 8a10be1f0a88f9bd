"""Label selectors in Kubernetes' grammar: `a=b,c!=d,e in (f,g),h notin (i),j,!k`.

Source: labels.Parse, apimachinery/pkg/labels/selector.go. Commas join requirements; `!=` and `notin` also match objects
without the key. The patterns of keys and values are IsQualifiedName and IsValidLabelValue.
"""

import re
from collections.abc import Iterator
from typing import NamedTuple

LabelTerm = tuple[str, str, tuple[str, ...]]
"""Key, operator (`in`, `notin`, `exists`, `!exists`) and values of one requirement."""

_NAME = r"[A-Za-z0-9](?:[-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?"
_KEY = rf"(?:[a-z0-9](?:[-a-z0-9.]{{0,251}}[a-z0-9])?/)?{_NAME}"
_VALUES = rf"\( ?(?:{_NAME})?(?: ?, ?(?:{_NAME})?)* ?\)"
_TERM = rf"(?:! ?{_KEY}|{_KEY}(?: ?(?:=|==|!=) ?(?:{_NAME})?| (?:in|notin) ?{_VALUES})?)"
PATTERN = rf"^ ?(?:{_TERM}(?: ?, ?{_TERM}){{0,31}} ?)?$(?!\n)"
MAX_LENGTH = 4096
TERMS_MAX = 32

VALUES_MAX = 1000
_BLANKS = " \t\r\n"
_SYMBOLS = frozenset("=!(),")

_key = re.compile(_KEY)
_name = re.compile(_NAME)


class SelectorError(ValueError):
    """The label selector cannot be read. The message says at which character, and why."""


class _Token(NamedTuple):
    """A piece of a selector: a symbol, or a word. The end is an empty symbol. `at` counts from 0."""

    text: str
    at: int
    is_word: bool


def parse(text: str) -> tuple[LabelTerm, ...]:
    """Return the terms of a label selector in Kubernetes' grammar (`a=b,c!=d,e in (f,g),h notin (i),j,!k`).

    It takes one pass over the characters and one over the tokens, whatever the text is.

    Raises:
        SelectorError: it is not in the grammar, is longer than 4,096 characters, or has more than 32 terms or 1,000 values.
    """
    if len(text) > MAX_LENGTH:
        raise SelectorError(f"has {len(text)} characters; the limit is {MAX_LENGTH}")
    if not text.strip():
        return ()
    reader = _Reader(text, list(_tokens(text)))
    terms = [reader.term()]
    while reader.next_is(","):
        if len(terms) == TERMS_MAX:
            raise SelectorError(f"has more than {TERMS_MAX} terms, which is the limit")
        terms.append(reader.term())
    if not reader.next_is(""):
        raise reader.unreadable()
    if sum(len(values) for _key, _operator, values in terms) > VALUES_MAX:
        raise SelectorError(f"has more than {VALUES_MAX} values, which is the limit")
    return tuple(terms)


def _tokens(text: str) -> Iterator[_Token]:
    word_from = -1
    for at, character in enumerate(text):
        symbol = character in _SYMBOLS
        if (symbol or character in _BLANKS) and word_from >= 0:
            yield _Token(text[word_from:at], word_from, is_word=True)
            word_from = -1
        if symbol:
            yield _Token(character, at, is_word=False)
        elif word_from < 0 and character not in _BLANKS:
            word_from = at
    if word_from >= 0:
        yield _Token(text[word_from:], word_from, is_word=True)
    yield _Token("", len(text), is_word=False)


class _Reader:
    """Reads terms from tokens; `position` is the next one."""

    def __init__(self, text: str, tokens: list[_Token]) -> None:
        self._text = text
        self._tokens = tokens
        self._position = 0

    @property
    def _next(self) -> _Token:
        return self._tokens[self._position]

    def next_is(self, symbol: str) -> bool:
        """Step over a symbol, if it is next; return whether it was. An empty symbol is the end."""
        found = not self._next.is_word and self._next.text == symbol
        if found and symbol:
            self._position += 1
        return found

    def unreadable(self) -> SelectorError:
        at = self._next.at
        return SelectorError(f"cannot be read at character {at + 1}: {self._text[at : at + 40]!r}")

    def term(self) -> LabelTerm:
        if self.next_is("!"):
            return (self._word(_key), "!exists", ())
        key = self._word(_key)
        if self.next_is("="):
            self.next_is("=")
            return (key, "in", (self._value(),))
        if self.next_is("!"):
            if not self.next_is("="):
                raise self.unreadable()
            return (key, "notin", (self._value(),))
        if self._next.is_word and self._next.text in ("in", "notin"):
            operator = self._next.text
            self._position += 1
            return (key, operator, self._values())
        return (key, "exists", ())

    def _values(self) -> tuple[str, ...]:
        if not self.next_is("("):
            raise self.unreadable()
        values = [self._value()]
        while self.next_is(","):
            values.append(self._value())
        if not self.next_is(")"):
            raise self.unreadable()
        return tuple(dict.fromkeys(values))

    def _value(self) -> str:
        return self._word(_name) if self._next.is_word else ""

    def _word(self, pattern: re.Pattern[str]) -> str:
        token = self._next
        if not token.is_word or not pattern.fullmatch(token.text):
            raise self.unreadable()
        self._position += 1
        return token.text
