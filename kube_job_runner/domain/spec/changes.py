"""Changes of a stored spec by path: how a job is run again with some fields set otherwise.

A path is dotted (`resources.memory`, `args[0]`, `env.MODE`) or a JSON pointer (`/resources/memory`). The result is judged
by the same checks as any submitted spec; here only the paths themselves can be wrong.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Mapping
from typing import Any

from kube_job_runner.domain.spec.check import pointer
from kube_job_runner.domain.spec.model import Problem

# Their keys may hold dots, so that in a dotted path all after the first dot is one key.
_MAPS = frozenset({"env", "labels", "annotations", "node_selector"})
_PART = re.compile(r"([^.\[\]]+)((?:\[[0-9]{1,4}\])*)")
_INDEX = re.compile(r"[0-9]{1,4}")


class _PathError(ValueError):
    """The path cannot be read, or leads nowhere."""


def apply(spec: Mapping[str, Any], changes: Mapping[str, Any]) -> tuple[dict[str, Any], list[Problem]]:
    """Return a copy of a spec (as JSON) with the changes, in their order, and what is wrong with their paths.

    A value of None takes a field out, so that its default holds again. An index one past the end of a list appends.
    """
    changed: dict[str, Any] = copy.deepcopy(dict(spec))
    problems = []
    for path, value in changes.items():
        try:
            _put(changed, parts(path), copy.deepcopy(value))
        except _PathError as error:
            problems.append(Problem(pointer("set", path), str(error)))
    return changed, problems


def parts(path: str) -> list[str]:
    """Return the steps of a path.

    Raises:
        ValueError: it is not a path.
    """
    if path.startswith("/"):
        return [part.replace("~1", "/").replace("~0", "~") for part in path[1:].split("/")]
    head, dot, rest = path.partition(".")
    if head in _MAPS and dot:
        return [head, rest]
    steps: list[str] = []
    for part in path.split("."):
        match = _PART.fullmatch(part)
        if match is None:
            raise _PathError("is not a path; write it like resources.memory, args[0] or /resources/memory")
        steps += [match[1], *re.findall(r"[0-9]+", match[2])]
    return steps


def _put(spec: dict[str, Any], steps: list[str], value: Any) -> None:
    place: Any = spec
    for at, step in enumerate(steps):
        key = _key(place, step, steps[:at])
        if at == len(steps) - 1:
            _set(place, key, value)
            return
        child = _child(place, key)
        if child is None:
            if value is None:
                return  # what is not there need not be taken out
            child = [] if _INDEX.fullmatch(steps[at + 1]) and step not in _MAPS else {}
            _set(place, key, child)
        place = child


def _key(place: Any, step: str, before: list[str]) -> str | int:
    where = pointer(*before) or "the spec"
    if isinstance(place, dict):
        return step
    if not isinstance(place, list):
        raise _PathError(f"{where} is neither an object nor a list, so nothing can be set within it")
    if not _INDEX.fullmatch(step) or int(step) > len(place):
        raise _PathError(f"{where} is a list of {len(place)}: an index from 0 to {len(place)} is needed, not {step!r}")
    return int(step)


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
