"""The weight of bodies: the number of values is right for any JSON, and hostile bodies are refused unread."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kube_job_runner.web.validation import weight
from kube_job_runner.web.validation.fault import TooComplex

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(alphabet='a,{["\\]}: \n', max_size=20),
    lambda inner: (
        st.lists(inner, max_size=6) | st.dictionaries(st.text(alphabet='a,[{"\\', max_size=5), inner, max_size=6)
    ),
    max_leaves=60,
)


def expected(tree: Any) -> int:
    """Return the number of commas and brackets that open, plus one."""
    if isinstance(tree, dict | list):
        items = list(tree.values()) if isinstance(tree, dict) else tree
        return 1 + max(0, len(items) - 1) + sum(expected(item) - 1 for item in items) + 1
    return 1


@given(JSON, st.integers(1, 40))
def test_values_are_counted_as_if_the_body_were_decoded(tree: Any, slice_bytes: int) -> None:
    body = json.dumps(tree).encode()
    before = weight._SLICE_BYTES
    weight._SLICE_BYTES = slice_bytes  # so that texts and escapes lie across slices
    try:
        assert weight.check(body) == expected(tree)
    finally:
        weight._SLICE_BYTES = before
    assert weight.at_most(body) >= expected(tree)


@pytest.mark.parametrize(
    "body",
    [
        b"[" + b"{}," * 300_000 + b"{}]",
        b"[" + b"[]," * 300_000 + b"[]]",
        b"[" * 300_000,
        b"[" + b'"a",' * 300_000 + b'"a"]',
        b"{" + b'"a":1,' * 300_000 + b"}",
        b'{"jobs":[' + b"{}," * 300_000 + b"{}]}",
        b'"' + b"," * 10 + b'"' + b"," * 300_000,
        b'"\\\\"' + b"," * 300_000,
        b'{"priority":' + b"9" * 5_000_000 + b"}",
        b"[0." + b"9" * 5_000_000 + b"]",
    ],
)
def test_a_body_of_too_many_values_is_refused(body: bytes) -> None:
    with pytest.raises(TooComplex):
        weight.check(body)


@pytest.mark.parametrize(
    "body",
    [
        b'["' + b"," * 5_000_000 + b'"]',
        b'["' + b'\\",' * 1_000_000 + b'"]',
        b'["' + b"\\\\" * 1_000_000 + b'"]',
        b'["' + b"9" * 1_000_000 + b'"]',
        b" " * 1_000_000 + b"1",
        b"",
    ],
)
def test_a_long_text_is_one_value(body: bytes) -> None:
    assert weight.check(body) <= 2
