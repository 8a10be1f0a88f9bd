"""The cheap proof that a body has no duplicate keys, and the strict parser behind it."""

from __future__ import annotations

import json

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kube_job_runner.domain.spec.changes import pointer
from kube_job_runner.web.validation import strict_json
from kube_job_runner.web.validation.fault import Malformed

_TEXT = st.text(st.characters(codec="utf-8"), max_size=8)
_TREES = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**9), 10**9) | _TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(_TEXT, inner, max_size=4),
    max_leaves=12,
)


@given(tree=_TREES, indent=st.sampled_from([None, 1]), ascii_only=st.booleans())
def test_a_body_called_plain_reads_the_same_with_the_strict_parser(
    tree: object, indent: int | None, ascii_only: bool
) -> None:
    body = json.dumps(tree, indent=indent, ensure_ascii=ascii_only).encode()
    assert strict_json.parse(body) == tree
    assert strict_json.plain(body) is (b"\\u" not in body)


@given(key=_TEXT, first=_TREES, second=_TREES, other=_TREES)
def test_a_key_given_twice_is_never_plain_and_always_refused(
    key: str, first: object, second: object, other: object
) -> None:
    name = json.dumps(key, ensure_ascii=False)
    values = [json.dumps(value, ensure_ascii=False) for value in (first, second, other)]
    body = f'{{{name}:{values[0]},"other\\t":[{values[2]}], {name} :{values[1]}}}'.encode()
    assert not strict_json.plain(body)
    with pytest.raises(Malformed) as caught:
        strict_json.parse(body)
    assert [fault.pointer for fault in caught.value.faults] == [pointer(key)]


def test_quotes_hidden_in_escapes_do_not_mask_a_duplicate() -> None:
    body = rb'{"a":"\u0022\u0022","a":"x"}'
    assert msgspec.json.decode(body) == {"a": "x"}
    assert not strict_json.plain(body)


@pytest.mark.parametrize("depth", [1, 31, 32])
def test_nesting_up_to_the_limit_is_read(depth: int) -> None:
    assert strict_json.parse(b"[" * depth + b"]" * depth) is not None


def test_nesting_beyond_the_limit_points_to_the_first_place_too_deep() -> None:
    with pytest.raises(Malformed) as caught:
        strict_json.parse(b"[" * 33 + b"]" * 33)
    assert [fault.pointer for fault in caught.value.faults] == ["/0" * 32]


def test_a_huge_integer_is_cut_and_stays_huge() -> None:
    assert strict_json.parse(b'{"n":' + b"9" * 100_000 + b"}")["n"] > 10**300
