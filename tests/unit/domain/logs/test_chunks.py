"""The stored form of a chunk."""

from __future__ import annotations

from array import array

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kube_job_runner.domain.logs.chunks import Body, decode_body, encode_body


@given(st.binary(), st.lists(st.integers(0, 2**62)))
def test_a_body_is_decoded_as_it_was_encoded(data: bytes, stamps: list[int]) -> None:
    assert decode_body(encode_body(Body(data, array("q", stamps)))) == Body(data, array("q", stamps))


def test_what_is_no_body_is_a_value_error() -> None:
    with pytest.raises(ValueError, match="cannot be read"):
        decode_body(b"nonsense")
