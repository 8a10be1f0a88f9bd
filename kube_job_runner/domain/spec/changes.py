"""Changes of a spec by path: the one grammar of `--set` and of `POST /v1/jobs/{id}:rerun`.

A path is dotted (`resources.memory`, `args[0]`, `env.MODE`) or a JSON pointer (`/resources/memory`, RFC 6901). Both mean the
same field. Only the paths are checked here; the changed spec is checked like any other spec. The module imports neither
msgspec nor the rest of the domain, because the command line uses it too.
"""

import copy
import re
from collections.abc import Mapping
from typing import Any, NamedTuple

TEXT_MAPS = frozenset({"env", "labels", "annotations", "node_selector"})
"""Fields that hold texts by key. A key may hold dots: in a dotted path, everything after the first dot is one key."""

_PART = re.compile(r"([^.\[\]]+)((?:\[[0-9]{1,4}\])*)")
_INDEX = re.compile(r"[0-9]{1,4}")
_POINTER = re.compile(r"(?:/(?:[^/~]|~[01])+)+")


class PathFault(NamedTuple):
    path: str
    detail: str


class _PathError(ValueError):
    """The path cannot be read, or leads nowhere."""


def pointer(*parts: str | int) -> str:
    """Return the JSON pointer (RFC 6901) of a path."""
    return "".join("/" + str(part).replace("~", "~0").replace("/", "~1") for part in parts)


def apply(spec: Mapping[str, Any], changes: Mapping[str, Any]) -> tuple[dict[str, Any], list[PathFault]]:
    """Return a changed copy of a spec (as JSON), and the paths that cannot be used.

    Changes are made in their order. A value of None removes a field, so that its default holds again. An index one past the
    end of a list appends.
    """
    changed: dict[str, Any] = copy.deepcopy(dict(spec))
    faults = []
    for path, value in changes.items():
        try:
            _put(changed, parts(path), copy.deepcopy(value))
        except _PathError as error:
            faults.append(PathFault(path, str(error)))
    return changed, faults


def parts(path: str) -> list[str | int]:
    """Return the steps of a path: an index in brackets is a number, every other step a text.

    Raises:
        ValueError: it is not a path.
    """
    if path.startswith("/"):
        if _POINTER.fullmatch(path) is None:
            raise _PathError("is not a JSON pointer; write it like /resources/memory")
        return [part.replace("~1", "/").replace("~0", "~") for part in path[1:].split("/")]
    head, dot, rest = path.partition(".")
    if head in TEXT_MAPS and dot and rest:
        return [head, rest]
    steps: list[str | int] = []
    for part in path.split("."):
        match = _PART.fullmatch(part)
        if match is None:
            raise _PathError("is not a path; write it like resources.memory, args[0] or /resources/memory")
        steps += [match[1], *(int(index) for index in re.findall(r"[0-9]+", match[2]))]
    return steps


def _put(spec: dict[str, Any], steps: list[str | int], value: Any) -> None:
    place: Any = spec
    for at, step in enumerate(steps):
        key = _key(place, step, steps[:at])
        if at == len(steps) - 1:
            _set(place, key, value)
            return
        child = _child(place, key)
        if child is None:
            if value is None:
                return  # there is nothing to remove
            child = [] if _index(steps[at + 1]) is not None and step not in TEXT_MAPS else {}
            _set(place, key, child)
        place = child


def _key(place: Any, step: str | int, before: list[str | int]) -> str | int:
    where = pointer(*before) or "the spec"
    if isinstance(place, dict) and isinstance(step, str):
        return step
    if isinstance(place, dict):
        raise _PathError(f"{where} is an object, so it has no place [{step}]")
    if not isinstance(place, list):
        raise _PathError(f"{where} is neither an object nor a list, so nothing can be set within it")
    index = _index(step)
    if index is None or index > len(place):
        raise _PathError(
            f"{where} is a list of {len(place)}: an index from 0 to {len(place)} is needed, not {str(step)!r}"
        )
    return index


def _index(step: str | int) -> int | None:
    return int(step) if _INDEX.fullmatch(str(step)) else None


def _child(place: Any, key: str | int) -> Any:
    if isinstance(key, int):
        return place[key] if key < len(place) else None
    return place.get(key)


def _set(place: Any, key: str | int, value: Any) -> None:
    if isinstance(key, int):
        if value is None:
            del place[key : key + 1]
        elif key == len(place):
            place.append(value)
        else:
            place[key] = value
    elif value is None:
        place.pop(key, None)
    else:
        place[key] = value
