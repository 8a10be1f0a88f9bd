"""The reference page of the job spec: one table for each object, with the texts, defaults and limits of the types."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec
import yaml
from msgspec import inspect as mi

from kube_job_runner.domain.limits import SpecLimits
from kube_job_runner.domain.spec.model import JobSpec

_INTRO = f"""# Job spec

What `POST /v1/jobs`, `kjr submit -f FILE` and the SDK accept. Only `image` is required. The server reports all faults of a spec
at once. A field that it does not know is ignored with a warning, or refused with `strict=true`.

- Quantities are written as in Kubernetes: `500m`, `2`, `64Mi`, `1.5Gi`.
- Times are seconds. `kjr` also reads `10m`, `2h` or `1d` in files and in `--set`.
- A whole spec has at most {SpecLimits().spec_max_bytes:,} bytes (`KJR_SPEC_MAX_BYTES`). Put large input in a volume.

See also [retries](retries.md), [queues](queues.md) and [cancel](cancel.md). This page is generated from the types of the spec.

## All fields

Most jobs need only `image`, `command` and `resources`.

```yaml
"""


def page(type_: type[msgspec.Struct] = JobSpec) -> str:
    """Return the page in Markdown."""
    structs = list({struct.cls: struct for struct in _structs(mi.type_info(type_))}.values())
    parts = [
        _INTRO + yaml.safe_dump(example(structs[0]), sort_keys=False, default_flow_style=None, width=120) + "```\n"
    ]
    parts += [_section(struct) for struct in structs]
    return "\n".join(parts)


def example(struct: mi.StructType) -> dict[str, Any]:
    """Return an object with all fields, made of their examples."""
    found = {}
    for field in struct.fields:
        plain, schema = _unwrap(field.type)
        found[field.name] = example(plain) if isinstance(plain, mi.StructType) else schema["examples"][0]
    return found


def _structs(type_: mi.Type) -> Iterator[mi.StructType]:
    """Return the objects of a type, outermost first."""
    plain, _ = _unwrap(type_)
    if isinstance(plain, mi.StructType):
        yield plain
        for field in plain.fields:
            yield from _structs(field.type)
    elif isinstance(plain, mi.VarTupleType):
        yield from _structs(plain.item_type)


def _unwrap(type_: mi.Type) -> tuple[mi.Type, dict[str, Any]]:
    """Return a type without `None` and metadata, and its metadata: the JSON schema and the hint."""
    metadata: dict[str, Any] = {}
    while isinstance(type_, mi.Metadata | mi.UnionType):
        if isinstance(type_, mi.Metadata):
            metadata = (type_.extra_json_schema or {}) | (type_.extra or {}) | metadata
            type_ = type_.type
        else:
            type_ = next(one for one in type_.types if not isinstance(one, mi.NoneType))
    return type_, metadata


def _section(struct: mi.StructType) -> str:
    name = struct.cls.__name__
    lines = [f"## {name}", "", " ".join((struct.cls.__doc__ or "").split()), ""]
    lines += ["| field | type | default | limits | meaning | example |", "|---|---|---|---|---|---|"]
    for field in struct.fields:
        plain, metadata = _unwrap(field.type)
        cells = [
            f"`{field.name}`",
            _kind(plain),
            _default(field),
            "; ".join(_limits(field.type)),
            metadata["description"],
            f"`{msgspec.json.encode(metadata['examples'][0]).decode()}`",
        ]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def _kind(type_: mi.Type) -> str:
    plain, _ = _unwrap(type_)
    if isinstance(plain, mi.StructType):
        return f"[{plain.cls.__name__}](#{plain.cls.__name__.lower()})"
    if isinstance(plain, mi.VarTupleType):
        item = _kind(plain.item_type)
        return f"list of {item}" if item.startswith("[") else f"list of {item}s"
    if isinstance(plain, mi.DictType):
        return "map of strings"
    if isinstance(plain, mi.LiteralType):
        return ", ".join(f"`{value}`" for value in plain.values)
    names: dict[type[mi.Type], str] = {
        mi.StrType: "string",
        mi.IntType: "integer",
        mi.FloatType: "number",
        mi.BoolType: "boolean",
    }
    return names[type(plain)]


def _default(field: mi.Field) -> str:
    if field.required:
        return "required"
    if field.default is None or field.default == () or field.default_factory is dict:
        return "none"
    if isinstance(field.default, msgspec.Struct):
        return "as below"
    return f"`{msgspec.json.encode(field.default).decode()}`" if field.default != "" else "empty"


def _limits(type_: mi.Type) -> Iterator[str]:
    plain, metadata = _unwrap(type_)
    if isinstance(plain, mi.IntType | mi.FloatType):
        yield from _range(plain)
    elif isinstance(plain, mi.StrType):
        yield from _length(plain, "characters")
        if "hint" in metadata:
            yield str(metadata["hint"]).removeprefix("must be ")
    elif isinstance(plain, mi.VarTupleType):
        yield from _length(plain, "entries")
        each = ", ".join(_limits(plain.item_type))
        if each:
            yield f"each: {each}"
    elif isinstance(plain, mi.DictType):
        yield from _length(plain, "entries")
        yield f"names: {', '.join(_limits(plain.key_type))}"
        yield f"values: {', '.join(_limits(plain.value_type))}"


def _range(type_: mi.IntType | mi.FloatType) -> Iterator[str]:
    if type_.ge is not None:
        yield f"{type_.ge:,} to {type_.le:,}"
    elif type_.gt is not None:
        yield f"above {type_.gt:,}, up to {type_.le:,}"


def _length(type_: mi.StrType | mi.VarTupleType | mi.DictType, what: str) -> Iterator[str]:
    if type_.max_length is not None:
        yield (
            f"{type_.min_length} to {type_.max_length:,} {what}"
            if type_.min_length
            else f"at most {type_.max_length:,} {what}"
        )
