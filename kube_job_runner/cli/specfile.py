"""Reads job specs from files: YAML or JSON, one or many, with durations such as `10m`."""

import json
import math
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

from kube_job_runner.domain import durations
from kube_job_runner.domain.spec import changes

API_VERSION = "kube-job-runner.io/v1"


class SpecError(click.ClickException):
    """A file or a `--set` option is not valid."""

    exit_code = 2


def load(name: str) -> list[dict[str, Any]]:
    """Return the specs of a file, or of stdin when `name` is `-`.

    A file holds one spec, a list of specs, or `{"jobs": [...]}`; YAML may hold several documents.

    Raises:
        SpecError: the file cannot be read, or holds something else.
    """
    try:
        raw = sys.stdin.buffer.read() if name == "-" else Path(name).read_bytes()
        content = raw.decode("utf-8-sig")  # editors on Windows begin a file with a byte order mark
    except (OSError, UnicodeDecodeError) as error:
        raise SpecError(f"{name}: {error}") from None
    specs = [_one(spec, name) for document in _documents(content, name) for spec in _unpack(document)]
    if not specs:
        raise SpecError(f"{name}: it holds no job")
    return specs


def _documents(content: str, name: str) -> Iterator[Any]:
    if content.lstrip().startswith(("{", "[")):
        try:
            yield json.loads(content, object_pairs_hook=_no_duplicates)
            return
        except json.JSONDecodeError:
            pass  # JSON lines, flow-style YAML or several documents: tried below
        except ValueError as error:
            raise SpecError(f"{name}: {error}") from None
        try:
            yield from [
                json.loads(line, object_pairs_hook=_no_duplicates) for line in content.split("\n") if line.strip()
            ]
            return
        except ValueError:
            pass
    import yaml

    try:
        hidden = content.translate(_HIDDEN)
        yield from [document for document in yaml.load_all(hidden, _loader()) if document is not None]
    except (yaml.YAMLError, ValueError) as error:
        raise SpecError(f"{name}: {error}") from None


_NULL = r"~|null|Null|NULL|"
_BOOLEAN = r"true|True|TRUE|false|False|FALSE"
_INTEGER = r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+"
_FLOAT = r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)"


# PyYAML ends a line at these three characters, as YAML 1.1 does. YAML 1.2 (section 5.4) does not, so it sees others instead.
_HIDDEN = {0x85: 0x10FF85, 0x2028: 0x10FF28, 0x2029: 0x10FF29}
_SHOWN = {hidden: shown for shown, hidden in _HIDDEN.items()}


def _loader() -> Any:
    import yaml

    class Loader(yaml.SafeLoader):
        """The safe loader, with the scalars of YAML 1.2 (its core schema, section 10.3.2) and no key twice in a mapping.

        So `NO`, `on`, `12:30` and `2026-02-08` are text, as they are written, and so is every key.
        """

        yaml_implicit_resolvers: dict[str | None, list[Any]] = {}  # noqa: RUF012 - as its base class declares it

        def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:
            own = [key for key, _ in node.value if key.tag != "tag:yaml.org,2002:merge"]
            for key in own:
                if isinstance(key, yaml.ScalarNode):
                    key.tag = "tag:yaml.org,2002:str"
            _no_duplicates([(self.construct_object(key, deep=True), None) for key in own])
            return super().construct_mapping(node, deep)

        def construct_scalar(self, node: Any) -> Any:
            return super().construct_scalar(node).translate(_SHOWN)

        def construct_yaml_int(self, node: Any) -> int:
            text = self.construct_scalar(node)
            return int(text, 0) if text.startswith(("0o", "0x")) else int(text)

    for tag, pattern in (("null", _NULL), ("bool", _BOOLEAN), ("int", _INTEGER), ("float", _FLOAT), ("merge", "<<")):
        Loader.add_implicit_resolver(f"tag:yaml.org,2002:{tag}", re.compile(rf"^(?:{pattern})$"), None)
    Loader.add_constructor("tag:yaml.org,2002:int", Loader.construct_yaml_int)
    return Loader


def _no_duplicates(pairs: list[tuple[Any, Any]]) -> dict[Any, Any]:
    result: dict[Any, Any] = {}
    for key, value in pairs:
        if key in result:
            raise ValueError(f"the key {key!r} occurs twice in one object")
        result[key] = value
    return result


def _unpack(document: Any) -> list[Any]:
    if isinstance(document, list):
        return document
    if isinstance(document, dict) and set(document) == {"jobs"} and isinstance(document["jobs"], list):
        return document["jobs"]
    return [document]


def _one(spec: Any, name: str) -> dict[str, Any]:
    if not isinstance(spec, dict) or not all(isinstance(key, str) for key in spec):
        raise SpecError(f"{name}: a job must be an object, not {type(spec).__name__}")
    version, kind = spec.pop("apiVersion", API_VERSION), spec.pop("kind", "Job")
    if (version, kind) != (API_VERSION, "Job"):
        raise SpecError(
            f"{name}: {version} {kind} cannot be submitted; write {API_VERSION} Job, or omit apiVersion and kind"
        )
    odd = _not_finite(spec)
    if odd is not None:
        raise SpecError(f"{name}: {changes.pointer(*odd)} is not a finite number; write it in quotes if it is text")
    converted: dict[str, Any] = _with_seconds(spec)
    return converted


def _not_finite(value: Any) -> tuple[str | int, ...] | None:
    """Return the place of a NaN or an infinite number, which JSON does not have; None when there is none."""
    if isinstance(value, float) and not math.isfinite(value):
        return ()
    if not isinstance(value, dict | list):
        return None
    for step, item in value.items() if isinstance(value, dict) else enumerate(value):
        rest = _not_finite(item)
        if rest is not None:
            return (step, *rest)
    return None


def _with_seconds(value: Any) -> Any:
    """Return a spec with durations such as `run_seconds: 10m` converted to seconds."""
    if isinstance(value, list):
        return [_with_seconds(item) for item in value]
    if not isinstance(value, dict):
        return value
    result = {}
    for key, item in value.items():
        if key in changes.TEXT_MAPS:
            result[key] = item
        elif isinstance(key, str) and key.endswith("_seconds") and isinstance(item, str):
            result[key] = seconds(item, key)
        else:
            result[key] = _with_seconds(item)
    return result


def seconds(text: str, where: str) -> int | float:
    """Return a duration in seconds, as an integer if it is whole."""
    try:
        number = durations.parse(text)
    except ValueError as error:
        raise SpecError(f"{where}: {error}") from None
    return int(number) if number == int(number) else number
