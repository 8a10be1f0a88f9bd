"""The fast and the slow path give the same values; the slow one collects every fault of every kind of type."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
import pytest
from msgspec import Meta

from kube_job_runner.web.kit.problems import details, of_document
from kube_job_runner.web.validation.body import BodyDecoder
from kube_job_runner.web.validation.fault import FAULTS_MAX, Fault, Invalid


class Inner(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    size: Annotated[int, Meta(gt=0, lt=10)] = 1
    share: Annotated[float, Meta(ge=0, le=1)] = 0.5


class Body(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    name: Annotated[str, Meta(min_length=2, max_length=5, pattern="^[a-z]+$", extra={"hint": "must be small letters"})]
    kind: Literal["x", "y"] = "x"
    flag: bool = False
    inner: Inner | None = None
    items: Annotated[tuple[Inner, ...], Meta(min_length=0, max_length=3)] = ()
    table: Annotated[dict[Annotated[str, Meta(max_length=3)], int], Meta(max_length=2)] = {}


def _check(body: Body) -> list[Fault]:
    return [Fault("/kind", "y needs the flag")] if body.kind == "y" and not body.flag else []


DECODER = BodyDecoder(Body, check=_check, example={"name": "abc"})


def faults(body: str, *, strict: bool = False) -> list[tuple[str, str]]:
    with pytest.raises(Invalid) as caught:
        DECODER.decode(body.encode(), strict=strict)
    return [(fault.pointer, fault.detail) for fault in caught.value.faults]


@pytest.mark.parametrize(
    ("body", "pointer", "words"),
    [
        ("{}", "/name", "is required"),
        ('{"name":1}', "/name", "must be a string, not a number"),
        ('{"name":null}', "/name", "must be a string, not null"),
        ('{"name":"a"}', "/name", "must have at least 2 characters"),
        ('{"name":"abcdef"}', "/name", "has 6 characters; the limit is 5"),
        ('{"name":"ABC"}', "/name", "'ABC' must be small letters"),
        ('{"name":"abc","kind":"z"}', "/kind", "must be one of x, y"),
        ('{"name":"abc","kind":1}', "/kind", "must be one of x, y"),
        ('{"name":"abc","flag":1}', "/flag", "must be true or false, not a number"),
        ('{"name":"abc","inner":[]}', "/inner", "must be an object, not an array"),
        ('{"name":"abc","inner":{"size":0}}', "/inner/size", "must be above 0"),
        ('{"name":"abc","inner":{"size":10}}', "/inner/size", "must be below 10"),
        ('{"name":"abc","inner":{"size":1.5}}', "/inner/size", "must be an integer, not 1.5"),
        ('{"name":"abc","inner":{"size":false}}', "/inner/size", "must be an integer, not a boolean"),
        ('{"name":"abc","inner":{"share":2}}', "/inner/share", "must be at most 1"),
        ('{"name":"abc","inner":{"share":"1"}}', "/inner/share", "must be a number, not a string"),
        ('{"name":"abc","items":{}}', "/items", "must be an array, not an object"),
        ('{"name":"abc","items":[{},{},{},{}]}', "/items", "has 4 entries; the limit is 3"),
        ('{"name":"abc","items":[{},{"size":0}]}', "/items/1/size", "must be above 0"),
        ('{"name":"abc","table":{"long":1}}', "/table/long", "the name has 4 characters; the limit is 3"),
        ('{"name":"abc","table":{"a":"1"}}', "/table/a", "must be an integer, not a string"),
        ('{"name":"abc","kind":"y"}', "/kind", "y needs the flag"),
    ],
)
def test_one_fault(body: str, pointer: str, words: str) -> None:
    assert faults(body) == [(pointer, words)]


def test_all_faults_come_at_once_with_those_across_fields() -> None:
    body = '{"name":5,"kind":"y","inner":{"size":0,"share":-1},"items":[1],"table":{"a":1,"b":2,"c":3}}'
    assert [pointer for pointer, _ in faults(body)] == [
        "/name",
        "/inner/size",
        "/inner/share",
        "/items/0",
        "/table",
        "/kind",
    ]


def test_the_rules_across_fields_do_not_speak_about_a_field_that_is_wrong_itself() -> None:
    assert faults('{"name":"abc","kind":"y","flag":"yes"}') == [
        ("/flag", "must be true or false, not a string"),
        ("/kind", "y needs the flag"),
    ]
    assert faults('{"kind":7}') == [("/kind", "must be one of x, y"), ("/name", "is required")]


def test_unknown_fields_are_warnings_and_with_strict_faults() -> None:
    body = b'{"name":"abc","nmae":1,"inner":{"size":2,"sise":3}}'
    decoded = DECODER.decode(body)
    assert decoded.value == Body(name="abc", inner=Inner(size=2))
    assert [warning.pointer for warning in decoded.warnings] == ["/nmae", "/inner/sise"]
    assert [pointer for pointer, _ in faults(body.decode(), strict=True)] == ["/nmae", "/inner/sise"]


@pytest.mark.parametrize(
    "body",
    [
        b'{"name":"abc"}',
        b' {"name" : "abc" , "inner" : null } ',
        b'{"name":"abc","inner":{"size":3,"share":1},"items":[{}],"table":{"a":1}}',
        b'{"name":"abc","kind":"y","flag":true}',
    ],
)
def test_both_paths_agree(body: bytes) -> None:
    fast = DECODER.fast(body)
    assert fast is not None
    escaped = body.replace(b"abc", b"\\u0061bc")
    assert DECODER.fast(escaped) is None
    assert DECODER.decode(escaped).value == fast


def test_an_integer_written_as_a_fraction_is_an_integer() -> None:
    value = DECODER.decode(b'{"name":"abc","inner":{"size":3.0}}').value
    assert value == Body(name="abc", inner=Inner(size=3))


def test_the_number_of_faults_in_an_answer_is_bounded() -> None:
    many = BodyDecoder(dict[str, Annotated[int, Meta(le=1)]])
    with pytest.raises(Invalid) as caught:
        many.decode(msgspec.json.encode({f"k{number}": 2 for number in range(5000)}))
    problem = of_document(caught.value)
    assert problem is not None
    document = details(problem, instance="/", request_id="r")
    assert len(document.errors) == FAULTS_MAX
    assert "not shown" in document.detail
