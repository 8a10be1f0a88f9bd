"""The committed reference is fresh."""

from __future__ import annotations

from pathlib import Path

import pytest

from docs import api_pages

ROOT = Path(__file__).parents[3]


@pytest.mark.parametrize("path", ["docs/openapi.json", "docs/reference/problems.md", "docs/reference/job-spec.md"])
def test_the_committed_reference_is_what_the_code_says(path: str) -> None:
    committed = (ROOT / path).read_bytes()
    assert committed == api_pages.files()[path], "run: python -m docs.api_pages"
