"""`kjr demo` tells three stories, with their true ends, and leaves nothing behind."""

from __future__ import annotations

import os
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.cli.conftest import KJR


@pytest.fixture
def folder() -> Iterator[Path]:
    """Return a folder with a path short enough for a socket, as temporary folders have outside of tests."""
    with tempfile.TemporaryDirectory(prefix="kjr-t-", dir="/tmp") as name:
        yield Path(name)


def test_the_demo_shows_three_ends(folder: Path) -> None:
    environ = {key: value for key, value in os.environ.items() if not key.startswith("KJR_") or key == "KJR_CACHE_DIR"}
    done = subprocess.run(
        [*KJR, "demo"],
        env={**environ, "TMPDIR": str(folder), "KJR_SERVER": "http://127.0.0.1:9", "KJR_TOKEN": "not this one"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=90,
    )
    assert done.returncode == 0, done.stderr
    rows = [line.split() for line in done.stdout.splitlines() if line]
    assert rows[0] == ["NAME", "STATE", "REASON", "EXIT", "CODE", "DURATION"]
    assert [row[:5] for row in rows[1:4]] == [
        ["hello", "✓", "succeeded", "Completed", "0"],
        ["exits-3", "✗", "failed", "ApplicationExit", "3"],
        ["cannot-start", "✗", "failed", "CommandNotFound", "-"],
    ]
    assert "Try next:" in done.stderr
    assert list(folder.iterdir()) == []
