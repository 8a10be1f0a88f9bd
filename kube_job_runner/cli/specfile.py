"""Job specs from files and flags: YAML or JSON, many documents, `--set path=value`, durations as people write them."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import click

from kube_job_runner.cli.terminal import durations

API_VERSION = "kube-job-runner.io/v1"
_TEXT_MAPS = frozenset({"env", "labels", "annotations", "node_selector"})
_LISTS = frozenset({"command", "args", "secrets", "tolerations", "volumes"})


class SpecFileError(click.ClickException):
    """A file or a `--set` cannot be read as job specs."""

    exit_code = 2


def load(name: str) -> list[dict[str, Any]]:
    """Return the specs of a file, or of stdin when `name` is `-`.

    A file holds one spec, a list of specs, or `{"jobs": [...]}`; YAML may hold several documents.

    Raises:
        SpecFileError: it cannot be read.
    """
    try:
        content = sys.stdin.read() if name == "-" else Path(name).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise SpecFileError(f"{name}: {error}") from None
    specs = [_one(spec, name) for document in _documents(content, name) for spec in _unpack(document)]
    if not specs:
        raise SpecFileError(f"{name}: there is no job in it")
    return specs


def _documents(content: str, name: str) -> Iterator[Any]:
    if content.lstrip().startswith(("{", "[")):
        try:
            yield json.loads(content, object_pairs_hook=_no_duplicates)
            return
        except json.JSONDecodeError:
            pass  # flow-style YAML, JSON lines or several documents: YAML reads those, or says what is wrong
        except ValueError as error:
            raise SpecFileError(f"{name}: {error}") from None
        try:
            yield from [
                json.loads(line, object_pairs_hook=_no_duplicates) for line in content.splitlines() if line.strip()
            ]
            return
        except ValueError:
            pass
    import yaml

    try:
        yield from [document for document in yaml.load_all(content, _loader()) if document is not None]
    except (yaml.YAMLError, ValueError) as error:
        raise SpecFileError(f"{name}: {error}") from None


def _loader() -> Any:
    import yaml

    class Loader(yaml.SafeLoader):
        """The safe loader, but a key twice in one mapping is a fault, not the second one's win."""

        def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:
            pairs = [(self.construct_object(key, deep=True), None) for key, _ in node.value]
            _no_duplicates(pairs)
            return super().construct_mapping(node, deep)

    return Loader


def _no_duplicates(pairs: list[tuple[Any, Any]]) -> dict[Any, Any]:
    result: dict[Any, Any] = {}
    for key, value in pairs:
        if key in result:
            raise ValueError(f"the key {key!r} stands twice in one object")
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
        raise SpecFileError(f"{name}: a job must be an object, not {type(spec).__name__}")
    version, kind = spec.pop("apiVersion", API_VERSION), spec.pop("kind", "Job")
    if (version, kind) != (API_VERSION, "Job"):
        raise SpecFileError(
            f"{name}: {version} {kind} cannot be submitted; write a {API_VERSION} Job, or leave apiVersion and kind out"
        )
    converted: dict[str, Any] = with_seconds(spec)
    return converted


def with_seconds(value: Any) -> Any:
    """Return a spec in which durations such as `run_seconds: 10m` are numbers of seconds."""
    if isinstance(value, list):
        return [with_seconds(item) for item in value]
    if not isinstance(value, dict):
        return value
    result = {}
    for key, item in value.items():
        if key in _TEXT_MAPS:
            result[key] = item
        elif isinstance(key, str) and key.endswith("_seconds") and isinstance(item, str):
            result[key] = seconds(item, key)
        else:
            result[key] = with_seconds(item)
    return result


def seconds(text: str, where: str) -> int | float:
    """Return a duration in seconds, as a whole number where it is one."""
    try:
        number = durations.parse(text)
    except ValueError as error:
        raise SpecFileError(f"{where}: {error}") from None
    return int(number) if number == int(number) else number


def assign(spec: dict[str, Any], assignments: Sequence[tuple[str, str]]) -> None:
    """Carry out `--set path=value` on a spec: `resources.cpu=2`, `env.MODE=fast`, `args[0]=x`.

    Values are read as JSON where they are JSON (numbers, true, lists), else as text; within env, labels, annotations and
    node_selector they are always text, and the rest of the path is one key, dots and all.

    Raises:
        SpecFileError: the path leads through something that is not an object or a list.
    """
    for path, text in assignments:
        parts = _path(path)
        _put(spec, parts, _typed(path, parts, text), path)


def changes(assignments: Sequence[tuple[str, str]]) -> dict[str, Any]:
    """Return `--set path=value` as the server takes it for a rerun: values by path, read as `assign` does.

    Raises:
        SpecFileError: a path cannot be read, or is given twice.
    """
    result: dict[str, Any] = {}
    for path, text in assignments:
        if path in result:
            raise SpecFileError(f"--set {path}: is given twice")
        parts: list[str | int] = [*path[1:].split("/")] if path.startswith("/") else _path(path)
        result[path] = _typed(path, parts, text)
    return result


def _typed(path: str, parts: Sequence[str | int], text: str) -> Any:
    value = text if parts[0] in _TEXT_MAPS and len(parts) > 1 else _value(text)
    if str(parts[-1]).endswith("_seconds") and isinstance(value, str):
        return seconds(value, path)
    return value


def _path(path: str) -> list[str | int]:
    head, _, rest = path.partition(".")
    if head in _TEXT_MAPS and rest:
        return [head, rest]
    parts: list[str | int] = []
    for part in path.split("."):
        name, *indexes = re.split(r"\[(\d{1,4})\]", part)
        if not name or any(indexes[1::2]):
            raise SpecFileError(f"--set {path}: not a path; write it like resources.cpu or args[0]")
        parts += [name, *(int(index) for index in indexes[::2])]
    return parts


def _value(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text


def _put(spec: dict[str, Any], parts: list[str | int], value: Any, path: str) -> None:
    place: Any = spec
    for part, following in zip(parts, [*parts[1:], None], strict=True):
        last = following is None
        if isinstance(part, int):
            if not isinstance(place, list) or part > len(place):
                raise SpecFileError(f"--set {path}: there is no place [{part}]")
            if part == len(place):
                place.append(None)
        elif not isinstance(place, dict):
            raise SpecFileError(f"--set {path}: {part!r} is not within an object")
        if last:
            place[part] = value
            return
        child = place[part] if isinstance(part, int) else place.get(part)
        if child is None:
            child = place[part] = [] if isinstance(following, int) else {}
        place = child
