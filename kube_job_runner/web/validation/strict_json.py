"""Strict JSON: finds what a lenient parser accepts (a key twice, NaN, lone surrogates), with a pointer to each place."""

import itertools
import json
import math
from collections.abc import Iterator
from typing import Any

import msgspec

from kube_job_runner.domain.spec.changes import pointer
from kube_job_runner.web.validation.fault import FAULTS_MAX, Fault, Malformed

DEPTH_MAX = 32
_FAULTS_FOUND_MAX = 10 * FAULTS_MAX
_INT_DIGITS_MAX = 400  # far above any limit of a field, far below what is slow to convert

_decode = msgspec.json.Decoder().decode
_encode = msgspec.json.Encoder().encode


class JsonObject(dict[str, Any]):
    """A JSON object that remembers which of its keys came more than once."""

    __slots__ = ("duplicates",)
    duplicates: tuple[str, ...]


def plain(body: bytes) -> bool:
    r"""Return cheaply whether a body that a typed decoder has accepted needs no strict parser.

    Without `\u` escapes there is no NUL and no surrogate, and a string has the same number of quotes before and after a
    round trip. Decoding keeps only one of two equal keys, so after a round trip there are fewer quotes if a key came twice.
    """
    return b"\\u" not in body and _encode(_decode(body)).count(b'"') == body.count(b'"')


def parse(body: bytes) -> Any:
    """Return the tree of a JSON document.

    Raises:
        Malformed: it is not JSON in UTF-8, or it is ambiguous or too deep; with a pointer to each such place.
    """
    if not body.strip():
        raise Malformed("the body is empty; a JSON document is needed")
    try:
        tree = json.loads(body.decode("utf-8"), object_pairs_hook=_object, parse_constant=_constant, parse_int=_integer)
    except UnicodeDecodeError as error:
        raise _unreadable(f"the body is not UTF-8: {error.reason} at byte {error.start}") from None
    except json.JSONDecodeError as error:
        raise _unreadable(f"{error.msg} at line {error.lineno}, column {error.colno}") from None
    except RecursionError:
        raise _unreadable(f"is nested deeper than {DEPTH_MAX} levels") from None
    faults = list(itertools.islice(_ambiguities(tree, "", 1), _FAULTS_FOUND_MAX))
    if faults:
        raise Malformed("the body is ambiguous JSON", faults)
    return tree


def _unreadable(detail: str) -> Malformed:
    return Malformed(f"the body cannot be read: {detail}", [Fault("", detail)])


def _object(pairs: list[tuple[str, Any]]) -> JsonObject:
    result = JsonObject(pairs)
    result.duplicates = ()
    if len(result) != len(pairs):
        seen: set[str] = set()
        result.duplicates = tuple(dict.fromkeys(key for key, _ in pairs if key in seen or seen.add(key)))  # type: ignore[func-returns-value]
    return result


def _constant(_text: str) -> float:
    return math.nan


def _integer(text: str) -> int:
    return int(text[:_INT_DIGITS_MAX])


def _ambiguities(value: Any, at: str, depth: int) -> Iterator[Fault]:
    if isinstance(value, str):
        if not _encodable(value):
            yield Fault(at, "holds a lone surrogate, which is not a character")
    elif isinstance(value, float):
        if not math.isfinite(value):
            yield Fault(at, "is not a number that JSON can hold (NaN, Infinity, or out of range)")
    elif isinstance(value, JsonObject | list):
        if depth > DEPTH_MAX:
            yield Fault(at, f"is nested deeper than {DEPTH_MAX} levels")
        elif isinstance(value, JsonObject):
            yield from _object_ambiguities(value, at, depth)
        else:
            for index, item in enumerate(value):
                yield from _ambiguities(item, f"{at}/{index}", depth + 1)


def _object_ambiguities(value: JsonObject, at: str, depth: int) -> Iterator[Fault]:
    for key in value.duplicates:
        yield Fault(at + pointer(key) if _encodable(key) else at, "is given more than once")
    for key, item in value.items():
        if not _encodable(key):
            yield Fault(at, "has a key with a lone surrogate, which is not a character")
        else:
            yield from _ambiguities(item, at + pointer(key), depth + 1)


def _encodable(text: str) -> bool:
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True
