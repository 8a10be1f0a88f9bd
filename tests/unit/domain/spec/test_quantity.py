"""Quantities as numbers."""

from __future__ import annotations

import pytest

from kube_job_runner.domain.spec import quantity


@pytest.mark.parametrize(
    ("text", "number"),
    [("1", 1), ("500m", 0.5), ("1.5Gi", 1.5 * 1024**3), ("2k", 2000), ("3Mi", 3 * 1024**2), ("1P", 10**15)],
)
def test_a_quantity_is_a_number(text: str, number: float) -> None:
    assert quantity.parse(text) == number


@pytest.mark.parametrize("text", ["", "x", "1x", "1 Gi", "-1", "1e3", "1GiB"])
def test_what_is_none_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is not a quantity"):
        quantity.parse(text)


@pytest.mark.parametrize(("size", "text"), [("1Gi", "1024Mi"), ("1000", "1Mi"), ("1.5Gi", "1536Mi"), ("1G", "954Mi")])
def test_sizes_are_rounded_up_to_mebibytes(size: str, text: str) -> None:
    assert quantity.mebibytes(quantity.parse(size)) == text
