"""Changes of a spec by path: what they do to the tree, and which paths are refused."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from kube_job_runner.domain.spec import changes
from kube_job_runner.domain.spec.model import JobSpec

SPEC: dict[str, Any] = {
    "image": "a",
    "args": ["x", "y"],
    "env": {"A": "1", "B.c": "2"},
    "resources": {"memory": "1Gi"},
}


@pytest.mark.parametrize(
    ("path", "value", "expected"),
    [
        ("image", "b", {"image": "b"}),
        ("/image", "b", {"image": "b"}),
        ("resources.memory", "2Gi", {"resources": {"memory": "2Gi"}}),
        ("/resources/cpu", "1", {"resources": {"memory": "1Gi", "cpu": "1"}}),
        ("timeouts.run_seconds", 5, {"timeouts": {"run_seconds": 5}}),
        ("env.B.c", "3", {"env": {"A": "1", "B.c": "3"}}),
        ("env.0", "zero", {"env": {"A": "1", "B.c": "2", "0": "zero"}}),
        ("/env/a~1b~0c", "d", {"env": {"A": "1", "B.c": "2", "a/b~c": "d"}}),
        ("labels.example.com/x", "y", {"labels": {"example.com/x": "y"}}),
        ("labels.0", "y", {"labels": {"0": "y"}}),
        ("labels", {"a": "b"}, {"labels": {"a": "b"}}),
        ("args[1]", "z", {"args": ["x", "z"]}),
        ("/args/2", "z", {"args": ["x", "y", "z"]}),
        ("args[0]", None, {"args": ["y"]}),
        ("args[2]", None, {}),
        ("command[0]", "sh", {"command": ["sh"]}),
        ("retry.rules[0].action", "fail", {"retry": {"rules": [{"action": "fail"}]}}),
        ("image", None, {"image": None}),
        ("timeouts.run_seconds", None, {}),
        ("resources", None, {"resources": None}),
    ],
)
def test_a_change(path: str, value: Any, expected: dict[str, Any]) -> None:
    changed, problems = changes.apply(SPEC, {path: value})
    assert problems == []
    assert changed == {key: item for key, item in {**SPEC, **expected}.items() if item is not None}


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("", "is not a path"),
        ("a..b", "is not a path"),
        (".a", "is not a path"),
        ("args[x]", "is not a path"),
        ("args[-1]", "is not a path"),
        ("args[0", "is not a path"),
        ("args[3]", "an index from 0 to 2 is needed, not '3'"),
        ("/", "is not a JSON pointer"),
        ("/resources/", "is not a JSON pointer"),
        ("/resources//memory", "is not a JSON pointer"),
        ("/env/a~2", "is not a JSON pointer"),
        ("env.", "is not a path"),
        ("/args/-", "an index from 0 to 2 is needed, not '-'"),
        ("args.first", "an index from 0 to 2 is needed"),
        ("resources[0]", "/resources is an object, so it has no place [0]"),
        ("image.tag", "/image is neither an object nor a list"),
        ("args[0].x", "/args/0 is neither an object nor a list"),
        ("command[1]", "/command is a list of 0: an index from 0 to 0 is needed, not '1'"),
    ],
)
def test_a_path_that_leads_nowhere(path: str, words: str) -> None:
    _, problems = changes.apply(SPEC, {path: 1})
    (problem,) = problems
    assert words in problem.detail
    assert problem.path == path


def test_the_spec_itself_and_the_values_stay_as_they_are() -> None:
    value = {"cpu": "1"}
    changed, _ = changes.apply(SPEC, {"resources": value, "resources.memory": "4Gi", "args[0]": "z"})
    assert changed["resources"] == {"cpu": "1", "memory": "4Gi"}
    assert (value, SPEC["args"], SPEC["resources"]) == ({"cpu": "1"}, ["x", "y"], {"memory": "1Gi"})


def test_pointers_escape_as_rfc_6901_says() -> None:
    assert changes.pointer("a/b", "~", 0) == "/a~1b/~0/0"
    assert changes.parts(changes.pointer("a/b", "~", 0)) == ["a/b", "~", "0"]


def test_every_field_that_holds_texts_by_key_is_known() -> None:
    schema = msgspec.json.schema(JobSpec)["$defs"]["JobSpec"]
    maps = {name for name, field in schema["properties"].items() if field.get("type") == "object"}
    assert maps == changes.TEXT_MAPS
