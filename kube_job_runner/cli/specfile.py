"""Reads job specs from files: YAML or JSON, one or many, with durations such as `10m`."""

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

from kube_job_runner.cli.terminal import durations
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
        content = sys.stdin.read() if name == "-" else Path(name).read_text(encoding="utf-8")
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
                json.loads(line, object_pairs_hook=_no_duplicates) for line in content.splitlines() if line.strip()
            ]
            return
        except ValueError:
            pass
    import yaml

    try:
        yield from [document for document in yaml.load_all(content, _loader()) if document is not None]
    except (yaml.YAMLError, ValueError) as error:
        raise SpecError(f"{name}: {error}") from None


def _loader() -> Any:
    import yaml

    class Loader(yaml.SafeLoader):
        """The safe loader, with an error for a key that a mapping holds twice."""

        def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:
            pairs = [(self.construct_object(key, deep=True), None) for key, _ in node.value]
            _no_duplicates(pairs)
            return super().construct_mapping(node, deep)

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
    converted: dict[str, Any] = _with_seconds(spec)
    return converted


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
