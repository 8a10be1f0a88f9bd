"""Files that cannot be read as job specs say why."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.unit.cli.conftest import Kjr
from tests.unit.cli.stub import Stub


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "it holds no job"),
        ("just text", "must be an object"),
        ("image: [", "f"),
        ("image: a\nimage: b\n", "'image' occurs twice"),
        ('{"image": "a", "image": "b"}', "'image' occurs twice"),
        ("apiVersion: batch/v1\nkind: Job\n", "batch/v1 Job cannot be submitted"),
        ("image: a\ntimeouts: {run_seconds: soon}\n", "run_seconds: 'soon' is not a duration"),
        ("image: !!python/object:os.system a\n", "could not determine a constructor"),
    ],
)
def test_a_file_that_cannot_be_read_says_why(
    kjr_on: Kjr, stub: Stub, tmp_path: Path, content: str, message: str
) -> None:
    (tmp_path / "f").write_text(content)
    result = kjr_on("submit", "-f", str(tmp_path / "f"))
    assert result.code == 2
    assert message in result.err
    assert stub.requests == []
