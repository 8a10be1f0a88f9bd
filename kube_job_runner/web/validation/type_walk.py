"""Type walk: follows a decoded tree along a type and collects every fault, each with its pointer.

msgspec stops at the first fault. That is fast, but a person who has to correct a spec wants to see all of them. The walk
runs only after the fast path has refused a document. It also copies the tree without its unknown fields, so that an extra
field of a newer client is a warning and not a refusal.
"""

import re
from collections.abc import Callable
from typing import Any

import msgspec
from msgspec import inspect as mi

from kube_job_runner.domain.spec.changes import pointer
from kube_job_runner.web.validation.fault import FAULTS_MAX, Fault

_SHOWN = 60


class Walk:
    """One walk over one tree. A type says in its `Meta(extra={"hint": ...})` what its pattern means in words."""

    def __init__(self) -> None:
        self.faults: list[Fault] = []
        self.unknown: list[Fault] = []

    @property
    def full(self) -> bool:
        """Whether there are more faults than an answer shows. The walk may then end."""
        return len(self.faults) > FAULTS_MAX

    def value(self, value: Any, type_: mi.Type, at: str, hint: str = "") -> Any:
        """Check a value against a type. Return it without unknown fields."""
        if isinstance(type_, mi.Metadata):
            return self.value(value, type_.type, at, _hint(type_) or hint)
        if isinstance(type_, mi.UnionType):
            return self._union(value, type_, at)
        if isinstance(type_, mi.StructType):
            return self._struct(value, type_, at)
        if isinstance(type_, mi.DictType):
            return self._dict(value, type_, at)
        if isinstance(type_, mi.VarTupleType | mi.ListType):
            return self._array(value, type_, at)
        check = _LEAVES.get(type(type_))
        if check is None:
            return value
        wrong = check(value, type_, hint)
        if wrong:
            self.faults.append(Fault(at, wrong))
        return int(value) if isinstance(type_, mi.IntType) and isinstance(value, float) and not wrong else value

    def _union(self, value: Any, type_: mi.UnionType, at: str) -> Any:
        others = [other for other in type_.types if not isinstance(other, mi.NoneType)]
        if value is None and len(others) < len(type_.types):
            return None
        return self.value(value, others[0], at) if len(others) == 1 else value

    def _struct(self, value: Any, type_: mi.StructType, at: str) -> Any:
        if not isinstance(value, dict):
            self.faults.append(Fault(at, f"must be an object, not {kind(value)}"))
            return value
        known = {field.encode_name: field for field in type_.fields}
        result = {}
        for name, item in value.items():
            if self.full:
                break
            if name not in known:
                if len(self.unknown) < FAULTS_MAX:
                    self.unknown.append(Fault(at + pointer(name), "is not a known field"))
                continue
            result[name] = self.value(item, known[name].type, at + pointer(name))
        for name, field in known.items():
            if field.required and name not in value:
                self.faults.append(Fault(at + pointer(name), "is required"))
        return result

    def _dict(self, value: Any, type_: mi.DictType, at: str) -> Any:
        if not isinstance(value, dict):
            self.faults.append(Fault(at, f"must be an object, not {kind(value)}"))
            return value
        if self._size_is_wrong(len(value), type_, at):
            return value
        for name, item in value.items():
            if self.full:
                break
            wrong = _key(name, type_.key_type)
            if wrong:
                self.faults.append(Fault(at + pointer(name), f"the name {wrong}"))
            self.value(item, type_.value_type, at + pointer(name))
        return value

    def _array(self, value: Any, type_: mi.VarTupleType | mi.ListType, at: str) -> Any:
        if not isinstance(value, list):
            self.faults.append(Fault(at, f"must be an array, not {kind(value)}"))
            return value
        if self._size_is_wrong(len(value), type_, at):
            return value
        result = []
        for index, item in enumerate(value):
            if self.full:
                break
            result.append(self.value(item, type_.item_type, f"{at}/{index}"))
        return result

    def _size_is_wrong(self, size: int, type_: mi.DictType | mi.VarTupleType | mi.ListType, at: str) -> bool:
        if type_.max_length is not None and size > type_.max_length:
            self.faults.append(Fault(at, f"has {size} entries; the limit is {type_.max_length}"))
            return True
        if type_.min_length is not None and size < type_.min_length:
            self.faults.append(Fault(at, f"has {size} entries; at least {type_.min_length} are needed"))
            return True
        return False


def kind(value: Any) -> str:
    """Return what a JSON value is, in words."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "a boolean"
    names = ((str, "a string"), (int | float, "a number"), (dict, "an object"), (list, "an array"))
    return next(name for type_, name in names if isinstance(value, type_))


def _hint(type_: mi.Metadata) -> str:
    return str((type_.extra or {}).get("hint", ""))


def _key(name: str, type_: mi.Type, hint: str = "") -> str | None:
    if isinstance(type_, mi.Metadata):
        return _key(name, type_.type, _hint(type_))
    return _string(name, type_, hint) if isinstance(type_, mi.StrType) else None


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= _SHOWN else text[:_SHOWN] + "..."


def _string(value: Any, type_: mi.StrType, hint: str) -> str | None:
    if not isinstance(value, str):
        return f"must be a string, not {kind(value)}"
    if "\0" in value:
        return "must not hold a NUL character"
    if type_.max_length is not None and len(value) > type_.max_length:
        return f"has {len(value)} characters; the limit is {type_.max_length}"
    if type_.min_length is not None and len(value) < type_.min_length:
        return "must not be empty" if type_.min_length == 1 else f"must have at least {type_.min_length} characters"
    if type_.pattern is not None and not re.search(type_.pattern, value):
        return f"{_shown(value)} {hint or f'must match the pattern {type_.pattern}'}"
    return None


def _integer(value: Any, type_: mi.IntType, _hint: str) -> str | None:
    if isinstance(value, bool) or not isinstance(value, int | float) or value != int(value):
        found = f"{value!r}" if isinstance(value, float) else kind(value)
        return f"must be an integer, not {found}"
    return _range(value, type_)


def _float(value: Any, type_: mi.FloatType, _hint: str) -> str | None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return f"must be a number, not {kind(value)}"
    return _range(value, type_)


def _range(value: float, type_: mi.IntType | mi.FloatType) -> str | None:
    if type_.ge is not None and value < type_.ge:
        return f"must be at least {type_.ge}"
    if type_.le is not None and value > type_.le:
        return f"must be at most {type_.le}"
    if type_.gt is not None and value <= type_.gt:
        return f"must be above {type_.gt}"
    if type_.lt is not None and value >= type_.lt:
        return f"must be below {type_.lt}"
    return None


def _boolean(value: Any, _type: mi.BoolType, _hint: str) -> str | None:
    return None if isinstance(value, bool) else f"must be true or false, not {kind(value)}"


def _literal(value: Any, type_: mi.LiteralType, _hint: str) -> str | None:
    if any(value == allowed and type(value) is type(allowed) for allowed in type_.values):
        return None
    return f"must be one of {', '.join(map(str, type_.values))}"


_LEAVES: dict[type, Callable[[Any, Any, str], str | None]] = {
    mi.StrType: _string,
    mi.IntType: _integer,
    mi.FloatType: _float,
    mi.BoolType: _boolean,
    mi.LiteralType: _literal,
}


def of_message(error: msgspec.ValidationError) -> Fault:
    """Return the fault that a message of msgspec reports; for what the walk does not know."""
    text, _, path = str(error).partition(" - at `$")
    at = ""
    for key, index in re.findall(r"\.([^.\[\]`]+)|\[(\d+|\.\.\.)\]", path):
        at += pointer(key or index)
    return Fault(at, text[:1].lower() + text[1:])
