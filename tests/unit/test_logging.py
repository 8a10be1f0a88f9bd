"""What our own logs never hold: secrets of the configuration, and characters that drive a terminal."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from kube_job_runner import settings
from kube_job_runner.settings import Settings
from kube_job_runner.telemetry import Cleaner

SCRIPT = """
import logging
from kube_job_runner import telemetry
telemetry.configure(log_format={format!r}, log_level="info", secrets=["pa55word", "pa55"])
log = telemetry.get_logger("x")
log.info("connecting", url="postgresql://kjr:pa55word@db/kjr", job="a\\x1b[2Jb", detail=["pa55word"], number=3)
try:
    raise ValueError("refused: pa55word")
except ValueError:
    log.exception("failed")
logging.getLogger("library").warning("dsn=%s\\x1b[0m", "pa55word")
"""


@pytest.mark.parametrize("format_", ["json", "console"])
def test_no_secret_and_no_control_character_reaches_a_log(format_: str) -> None:
    program = SCRIPT.replace("{format!r}", repr(format_))
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert "pa55" not in done.stderr
    assert done.stderr.count("***") == 4
    assert "\x1b[2J" not in done.stderr
    assert "\x1b[0m" not in done.stderr.splitlines()[-1]
    if format_ == "json":
        first = json.loads(done.stderr.splitlines()[0])
        assert (first["url"], first["job"], first["number"]) == ("postgresql://kjr:***@db/kjr", "a\\e[2Jb", 3)


def test_a_text_without_anything_to_hide_is_left_as_it_is() -> None:
    assert Cleaner().text("two\nlines\tand more, \N{SNOWMAN}") == "two\nlines\tand more, \N{SNOWMAN}"
    assert Cleaner().text("\x9b31m \N{RIGHT-TO-LEFT OVERRIDE}") == "\\x9b31m \\u202e"


def test_the_secrets_of_the_configuration_are_known_as_written_and_as_meant(tmp_path: Path) -> None:
    own = Settings(data_dir=tmp_path, database_url="postgresql://kjr:p%40ssw0rd@db.example.com/kjr")
    environ = {"AWS_SECRET_ACCESS_KEY": "aws-secret", "KJR_TOKEN": "kjr_abc", "PGPASSWORD": "1234"}
    assert settings.secrets(own, environ) == {"p%40ssw0rd", "p@ssw0rd", "aws-secret", "kjr_abc"}
    assert settings.secrets(Settings(data_dir=tmp_path), {}) == frozenset()
