"""Bodies: from bytes to a typed value, on a fast path when all is well, and with every fault when it is not."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Generic, TypeVar

import msgspec

from kube_job_runner.domain.spec.changes import pointer
from kube_job_runner.web.validation import strict_json, type_walk
from kube_job_runner.web.validation.fault import Fault, Invalid

T = TypeVar("T")
Check = Callable[[T], Sequence[Fault]]


@dataclasses.dataclass(slots=True)
class Decoded(Generic[T]):
    """A body, or an item of one: its value or its faults, and warnings about unknown fields."""

    value: T | None = None
    faults: Sequence[Fault] = ()
    warnings: Sequence[Fault] = ()


class BodyDecoder(Generic[T]):
    """Decodes bodies of one type.

    `check` adds the rules across fields. `example` is a valid body. Its values stand in for required fields that are missing
    or wrong, so that `check` can report the faults of all other fields in the same answer.
    """

    def __init__(
        self,
        type_: type[T],
        *,
        check: Check[T] | None = None,
        example: Mapping[str, Any] | None = None,
    ) -> None:
        self.type = type_
        self._check = check
        self._example = dict(example or {})
        self._decode = msgspec.json.Decoder(type_).decode
        self._info = msgspec.inspect.type_info(type_)

    def decode(self, body: bytes, *, strict: bool = False) -> Decoded[T]:
        """Return the typed body and the warnings about its unknown fields.

        With `strict` an unknown field is a fault.

        Raises:
            Malformed: the body is not JSON, or it is ambiguous.
            Invalid: with every fault of the body.
        """
        value = self.fast(body)
        if value is not None:
            return Decoded(value)
        decoded = self.item(strict_json.parse(body), strict=strict)
        if decoded.faults:
            raise Invalid(decoded.faults)
        return decoded

    def fast(self, body: bytes) -> T | None:
        """Return the value when the body has neither faults nor unknown fields, else None."""
        try:
            value = self._decode(body)
            if strict_json.plain(body) and not (self._check is not None and self._check(value)):
                return value
        except (ValueError, RecursionError):  # msgspec's errors and UnicodeDecodeError are ValueErrors
            pass
        return None

    def check(self, value: T) -> Sequence[Fault]:
        """Return the faults across fields of a well-typed value."""
        return self._check(value) if self._check is not None else ()

    def item(self, tree: Any, *, strict: bool, at: str = "") -> Decoded[T]:
        """Return the value of a decoded tree, or all its faults, with pointers below `at`."""
        walker = type_walk.Walk()
        clean = walker.value(tree, self._info, "")
        found = list(walker.faults)
        if strict:
            found += [Fault(fault.pointer, "is not a known field (strict=true)") for fault in walker.unknown]
        value: T | None = None
        try:
            value = msgspec.convert(clean, self.type)
        except msgspec.ValidationError as error:
            found = found or [type_walk.of_message(error)]
        if self._check is not None and not walker.full:
            found += self._check_what_is_left(clean, value, found)
        if found:
            return Decoded(faults=_below(at, found))
        return Decoded(value, warnings=_below(at, [_ignored(fault) for fault in walker.unknown]))

    def _check_what_is_left(self, clean: Any, value: T | None, faults: Sequence[Fault]) -> list[Fault]:
        """Return what `check` says about the fields that are well-typed, when others are not."""
        assert self._check is not None
        if value is not None:
            known = {fault.pointer for fault in faults}
            return [fault for fault in self._check(value) if fault.pointer not in known]
        if not isinstance(clean, dict):
            return []
        wrong = {fault.pointer.split("/")[1] for fault in faults if fault.pointer}
        rest = {name: item for name, item in clean.items() if pointer(name)[1:] not in wrong}
        try:
            partial = msgspec.convert(self._example | rest, self.type)
        except msgspec.ValidationError:
            return []
        return [fault for fault in self._check(partial) if fault.pointer.partition("/")[2].split("/")[0] not in wrong]


def _ignored(fault: Fault) -> Fault:
    return Fault(fault.pointer, "is not a known field; it was ignored")


def _below(at: str, faults: Sequence[Fault]) -> Sequence[Fault]:
    return [msgspec.structs.replace(fault, pointer=at + fault.pointer) for fault in faults] if at else faults
