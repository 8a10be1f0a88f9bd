"""The fixtures of the test bed; other suites import the same ones."""

from pathlib import Path

import pytest

from testbed import cache
from testbed.pytest_plugin import kube_cluster, kube_namespace, kube_programs, kube_real_node, pytest_collection_finish

__all__ = ["kube_cluster", "kube_namespace", "kube_programs", "kube_real_node", "pytest_collection_finish"]


@pytest.fixture
def empty_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache folder of its own, for tests of what is kept there."""
    monkeypatch.setenv("KJR_CACHE_DIR", str(tmp_path))
    assert cache.cache_dir() == tmp_path
    return tmp_path
