"""Decodes stored JSON that a newer program may have written: fields that this program does not know are left out.

During a rollout, and after a rollback, old and new programs share the database. A field that one of them does not know must not
make a row, and with it a whole list, unreadable. Types that users write are strict, because a typing error must be refused; what
was stored has been checked already.
"""

from typing import Any, Generic, TypeVar

import msgspec
from msgspec import inspect

T = TypeVar("T")


class TolerantDecoder(Generic[T]):
    """A decoder of one type. JSON without unknown fields costs nothing extra."""

    def __init__(self, type_: Any) -> None:
        self._type = type_
        self._strict: msgspec.json.Decoder[T] = msgspec.json.Decoder(type_)

    def decode(self, text: str | bytes) -> T:
        """Return the value of a JSON text, without the fields that are unknown.

        Raises:
            msgspec.MsgspecError: it is no JSON, or its known fields cannot be read.
        """
        try:
            return self._strict.decode(text)
        except msgspec.ValidationError:
            known = _known(msgspec.json.decode(text), inspect.type_info(self._type))
            found: T = msgspec.convert(known, self._type)
            return found


def _known(value: Any, info: inspect.Type) -> Any:
    """Return a decoded value without the fields of objects that the type does not have."""
    if isinstance(info, inspect.Metadata):
        return _known(value, info.type)
    if isinstance(info, inspect.UnionType):
        fits = [
            kind
            for kind in info.types
            if isinstance(value, dict) == isinstance(kind, inspect.StructType | inspect.DictType)
        ]
        return _known(value, fits[0]) if len(fits) == 1 else value
    if isinstance(info, inspect.StructType) and isinstance(value, dict):
        return {
            field.encode_name: _known(value[field.encode_name], field.type)
            for field in info.fields
            if field.encode_name in value
        }
    if isinstance(info, inspect.DictType) and isinstance(value, dict):
        return {key: _known(item, info.value_type) for key, item in value.items()}
    if isinstance(info, inspect.VarTupleType | inspect.ListType) and isinstance(value, list):
        return [_known(item, info.item_type) for item in value]
    return value
