"""The option `--set PATH=VALUE` of run, submit and rerun. The grammar of the paths is that of `domain/spec/changes.py`."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from kube_job_runner.cli.specfile import SpecError, seconds
from kube_job_runner.domain.spec import changes


def read(assignments: Sequence[tuple[str, str]]) -> dict[str, Any]:
    """Return the values by path.

    A value is JSON if it can be read as JSON (numbers, true, null, lists), else text. It is always text within env, labels,
    annotations and node_selector. In a field that ends in `_seconds` it may be a duration such as `10m`.

    Raises:
        SpecError: a path or a value cannot be read, or two paths name the same field.
    """
    values: dict[str, Any] = {}
    seen: set[str] = set()
    for path, text in assignments:
        try:
            steps = changes.parts(path)
        except ValueError as error:
            raise SpecError(f"--set {path}: {error}") from None
        pointer = changes.pointer(*steps)
        if pointer in seen:
            raise SpecError(f"--set {path}: {pointer} is set twice")
        seen.add(pointer)
        values[path] = _value(path, steps, text)
    return values


def apply(spec: Mapping[str, Any], values: Mapping[str, Any]) -> dict[str, Any]:
    """Return a changed copy of a spec.

    Raises:
        SpecError: a path leads through something that is neither an object nor a list, or past the end of a list.
    """
    changed, faults = changes.apply(spec, values)
    if faults:
        raise SpecError("\n".join(f"--set {fault.path}: {fault.detail}" for fault in faults))
    return changed


def refuse_given(spec: Mapping[str, Any], values: Mapping[str, Any]) -> None:
    """Check that no path names a field that the spec has already.

    Raises:
        SpecError: one does.
    """
    for path in values:
        steps = changes.parts(path)
        if _has(spec, steps):
            pointer = changes.pointer(*steps)
            raise SpecError(f"--set {path}: {pointer} is set by an argument or another option too; set it once")


def _has(place: Any, steps: Sequence[str | int]) -> bool:
    for step in steps:
        if isinstance(place, Mapping) and step in place:
            place = place[step]
        elif isinstance(place, list) and str(step).isdecimal() and int(step) < len(place):
            place = place[int(step)]
        else:
            return False
    return True


def _value(path: str, steps: Sequence[str | int], text: str) -> Any:
    if steps[0] in changes.TEXT_MAPS and len(steps) > 1:
        return text
    try:
        value = json.loads(text)
    except ValueError:
        value = text
    return seconds(value, f"--set {path}") if str(steps[-1]).endswith("_seconds") and isinstance(value, str) else value
