"""Reason codes and categories are converted into each other without loss, and all spellings of one are the same."""

from __future__ import annotations

import pytest

from kube_job_runner.domain.failures import categories, codes


@pytest.mark.parametrize("category", sorted(categories.BY_NAME))
def test_a_category_comes_back_from_its_code(category: str) -> None:
    assert codes.category_name(codes.reason_code(category)) == category


@pytest.mark.parametrize("name", ["ImageNotFound", "image_not_found", "image-not-found", "IMAGENOTFOUND"])
def test_all_spellings_have_one_key(name: str) -> None:
    assert codes.key(name) == "imagenotfound"


def test_the_code_of_a_name_is_the_public_one() -> None:
    assert categories.code_of("out-of-memory") == "OutOfMemory"
    assert categories.code_of("outofmemory") == "OutOfMemory"
    assert categories.code_of("LicenceMissing") == "LicenceMissing"
