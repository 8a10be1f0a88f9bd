"""Queries: query strings and path parameters as typed Structs. All faults are reported at once."""

import types
import typing
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Generic, TypeVar
from urllib.parse import parse_qsl

import msgspec
from msgspec import Meta

from kube_job_runner.domain.spec.changes import pointer
from kube_job_runner.web.kit.problems import MALFORMED_QUERY, VALIDATION_FAILED, RequestProblem
from kube_job_runner.web.validation.fault import Fault

T = TypeVar("T", bound=msgspec.Struct)
_PARAMETERS_MAX = 100
NO_NUL: dict[str, Any] = {"pattern": r"^[^\u0000]*$"}
"""The JSON Schema of any text in a query: a NUL is refused."""


class StrictQuery(msgspec.Struct, frozen=True):
    """How unknown fields of the body are handled."""

    strict: Annotated[bool, Meta(description="Refuse unknown fields. Without it they are ignored with a warning.")] = (
        False
    )


class QueryDecoder(Generic[T]):
    """Decodes query strings into a Struct. A tuple field may be repeated, and its values may be joined by commas."""

    def __init__(self, type_: type[T]) -> None:
        self.type = type_
        self._fields = {field.encode_name: field for field in msgspec.structs.fields(type_)}
        self._types = {name: _given(field.type) for name, field in self._fields.items()}
        self._lists = {name for name, type_ in self._types.items() if typing.get_origin(_plain(type_)) in (tuple, list)}
        self._switches = {name for name, type_ in self._types.items() if _plain(type_) is bool}
        required = any(field.required for field in self._fields.values())
        self._default: T | None = None if required else type_()

    def decode(self, query: bytes) -> T:
        """Return the typed query.

        Raises:
            RequestProblem: the query cannot be read (400), or parameters are unknown or wrong (422).
        """
        if not query and self._default is not None:
            return self._default
        faults: list[Fault] = []
        values: dict[str, Any] = {}
        for name, texts in _pairs(query).items():
            if name not in self._fields:
                known = ", ".join(sorted(self._fields)) or "none"
                faults.append(_fault(name, f"is not a known parameter; known: {known}"))
                continue
            try:
                values[name] = self._value(name, texts)
            except ValueError as error:
                faults.append(_fault(name, str(error).partition(" - at `")[0]))
        for name, field in self._fields.items():
            if field.required and name not in values and not any(f.pointer == f"/{name}" for f in faults):
                faults.append(_fault(name, "is required"))
        if faults:
            raise wrong_query(faults)
        return self.type(**{self._fields[name].name: value for name, value in values.items()})

    def _value(self, name: str, texts: list[str]) -> Any:
        if any("\0" in text for text in texts):
            raise ValueError("must not hold a NUL character")
        if name in self._lists:
            parts = [part for text in texts for part in text.split(",") if part]
            return msgspec.convert(parts, self._types[name])
        if len(texts) > 1:
            raise ValueError("is given more than once")
        text = "true" if name in self._switches and not texts[0] else texts[0]
        # Lax only where a text has to become a number. Elsewhere "0" would become a time, and "null" no value.
        strict = _plain(self._types[name]) not in (int, float, bool)
        return msgspec.convert(text, self._types[name], strict=strict)


def wrong_query(faults: Sequence[Fault]) -> RequestProblem:
    """Return the problem of a query string with these faults."""
    first = f"{faults[0].pointer[1:]}: {faults[0].detail}"
    return RequestProblem(VALIDATION_FAILED, f"the query is wrong; {first}", faults=faults)


def _fault(name: str, detail: str) -> Fault:
    detail = detail.replace("Expected `", "must be `", 1)
    return Fault(pointer(name)[:201], detail[:1].lower() + detail[1:], "query")


def _pairs(query: bytes) -> dict[str, list[str]]:
    try:
        pairs = parse_qsl(
            query.decode("utf-8"), keep_blank_values=True, errors="strict", max_num_fields=_PARAMETERS_MAX
        )
    except UnicodeDecodeError:
        raise RequestProblem(MALFORMED_QUERY, "the query string is not percent-encoded UTF-8") from None
    except ValueError:
        raise RequestProblem(MALFORMED_QUERY, f"the query has more than {_PARAMETERS_MAX} parameters") from None
    result: dict[str, list[str]] = {}
    for name, value in pairs:
        result.setdefault(name, []).append(value)
    return result


def _plain(type_: Any) -> Any:
    return typing.get_args(type_)[0] if typing.get_origin(type_) is typing.Annotated else type_


def _given(type_: Any) -> Any:
    """Return the type of a parameter that is present: `T` for `T | None`."""
    if typing.get_origin(type_) not in (typing.Union, types.UnionType):
        return type_
    parts = [part for part in typing.get_args(type_) if part is not types.NoneType]
    return parts[0] if len(parts) == 1 else type_


def path_value(type_: type[T], parameters: Mapping[str, str]) -> T | None:
    """Return the typed path parameters, or None when one has the wrong type; that is answered with 404."""
    try:
        return msgspec.convert(parameters, type_, strict=False)
    except msgspec.ValidationError:
        return None
