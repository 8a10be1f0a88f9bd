"""Tests of the Helm chart. Those that run Helm are skipped without Go, and fail where they are required."""

from __future__ import annotations

from pathlib import Path

import pytest

from testbed import build, helm
from testbed.pytest_plugin import unavailable


@pytest.fixture(scope="session")
def helm_program() -> Path:
    """Helm, built; the first build takes minutes."""
    try:
        return helm.ensure_built()
    except build.GoMissing as error:
        unavailable(str(error))
