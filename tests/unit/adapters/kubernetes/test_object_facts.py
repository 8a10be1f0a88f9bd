"""Facts of objects: messages fit the store."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kube_job_runner.adapters.kubernetes import object_facts


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        (None, ""),
        ("", ""),
        ("plain", "plain"),
        ("a\0b", "ab"),
        ("x" * 4096, "x" * 4096),
        ("x" * 4097, "x" * 4093 + "…"),
        ("é" * 3000, "é" * 2046 + "…"),
    ],
)
def test_s31_messages_are_cut_and_without_nul(text: str | None, wanted: str) -> None:
    assert object_facts.clean(text) == wanted
    assert len(object_facts.clean(text).encode()) <= object_facts.MESSAGE_MAX_BYTES


@given(st.text())
def test_s31_whatever_a_pod_writes_fits_the_store(text: str) -> None:
    cleaned = object_facts.clean(text * 50)
    assert "\0" not in cleaned
    assert len(cleaned.encode()) <= object_facts.MESSAGE_MAX_BYTES
