"""What our own logs never hold: secrets of the configuration, and characters that drive a terminal."""

from __future__ import annotations

import ast
import asyncio
import json
import re
import subprocess
import sys
from collections.abc import MutableMapping
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
import structlog

from kube_job_runner import settings
from kube_job_runner.bootstrap import lifetime
from kube_job_runner.telemetry import loggers
from kube_job_runner.telemetry.loggers import Cleaner

SCRIPT = """
import logging
from kube_job_runner.telemetry import loggers
loggers.configure(log_format={format!r}, log_level="info", secrets=["pa55word", "pa55"])
log = loggers.get_logger("x")
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
    shows_lines_of_a_string = sys.version_info >= (3, 13)  # a traceback shows them, also of the program of -c
    assert done.stderr.count("***") == (5 if shows_lines_of_a_string else 4)
    assert "\x1b[2J" not in done.stderr
    assert "\x1b[0m" not in done.stderr.splitlines()[-1]
    if format_ == "json":
        first = json.loads(done.stderr.splitlines()[0])
        assert (first["url"], first["job"], first["number"]) == ("postgresql://kjr:***@db/kjr", "a\\e[2Jb", 3)


ROOT = Path(__file__).parents[3] / "kube_job_runner"


def log_calls() -> list[tuple[str, ast.Call]]:
    """Return every call of a logger."""
    found = []
    for path in sorted(ROOT.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
                owner = node.func.value
                if isinstance(owner, ast.Name) and owner.id in ("log", "_log"):
                    found.append((f"{path.name}:{node.lineno}", node))
    return found


def test_every_line_names_its_action_and_is_a_sentence() -> None:
    calls = log_calls()
    assert len(calls) > 30
    for where, call in calls:
        actions = [keyword.value for keyword in call.keywords if keyword.arg == "action"]
        assert actions, f"{where}: no action"
        assert isinstance(actions[0], ast.Constant), where
        assert re.fullmatch(r"[a-z]+\.[a-z_]+", str(actions[0].value)), f"{where}: {actions[0].value!r}"
        texts = [arg.value for arg in call.args if isinstance(arg, ast.Constant) and isinstance(arg.value, str)]
        assert all(" " in text or text.isalpha() for text in texts), f"{where}: {texts} is no sentence"


@pytest.mark.asyncio
async def test_lines_name_their_component_in_all_that_it_starts() -> None:
    lines: list[dict[str, Any]] = []

    def keep(_logger: Any, _name: str, event: MutableMapping[str, Any]) -> str:
        lines.append(dict(event))
        return ""

    log = structlog.wrap_logger(structlog.PrintLogger(), processors=[structlog.contextvars.merge_contextvars, keep])

    async def deeper() -> None:
        log.info("within", action="unit.test")

    async def component() -> None:
        await asyncio.create_task(deeper())
        with loggers.about(job_id=UUID(int=7), attempt=2):
            log.info("about a job", action="unit.test")

    async def beside() -> None:
        await component()

    stop = asyncio.Event()
    ending = asyncio.create_task(
        lifetime.supervise({"sweeper": component(), "web-server": beside()}, stop=stop, drain_seconds=1)
    )
    stop.set()
    await ending
    assert {line["component"] for line in lines} == {"sweeper", "web-server"}
    about = [line for line in lines if "job_id" in line]
    assert [(line["job_id"], line["attempt"]) for line in about] == [(str(UUID(int=7)), 2)] * 2


def test_a_text_without_anything_to_hide_is_left_as_it_is() -> None:
    assert Cleaner().text("two\nlines\tand more, \N{SNOWMAN}") == "two\nlines\tand more, \N{SNOWMAN}"
    assert Cleaner().text("\x9b31m \N{RIGHT-TO-LEFT OVERRIDE}") == "\\x9b31m \\u202e"


def test_the_secrets_of_the_configuration_are_known_as_written_and_as_meant() -> None:
    own = settings.load({"database_url": "postgresql://kjr:p%40ssw0rd@db.example.com/kjr"}, {})
    environ = {"AWS_SECRET_ACCESS_KEY": "aws-secret", "KJR_TOKEN": "kjr_abc", "PGPASSWORD": "1234"}
    assert settings.secrets(own, environ) == {"p%40ssw0rd", "p@ssw0rd", "aws-secret", "kjr_abc"}
    assert settings.secrets(settings.Settings(), {}) == frozenset()
