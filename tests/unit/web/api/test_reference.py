"""The committed reference is fresh."""

from __future__ import annotations

from pathlib import Path

import pytest

from kube_job_runner.web.api import reference

ROOT = Path(__file__).parents[4]


@pytest.mark.parametrize("path", ["docs/openapi.json", "docs/reference/problems.md", "docs/reference/job-spec.md"])
def test_the_committed_reference_is_what_the_code_says(path: str) -> None:
    committed = (ROOT / path).read_bytes()
    assert committed == reference.files()[path], "run: python -m kube_job_runner.web.api.reference"
