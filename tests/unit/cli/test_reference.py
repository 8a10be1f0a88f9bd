"""docs/reference/cli.md has every command and every option, and completion works."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import click
import pytest

from kube_job_runner.cli import main

PAGE = (Path(__file__).parents[3] / "docs" / "reference" / "cli.md").read_text()
COMMON = {"--server", "--token", "--no-color", "-o", "--output", "-q", "--quiet", "-h", "--help"}


def section(name: str) -> str:
    """Return the section of a command; there must be exactly one."""
    (found,) = re.findall(rf"^## kjr {name}\b.*?(?=^## |\Z)", PAGE, re.MULTILINE | re.DOTALL)
    assert isinstance(found, str)
    return found


@pytest.mark.parametrize("name", [*main.COMMANDS])
def test_every_option_is_described(name: str) -> None:
    command = main.cli.get_command(click.Context(main.cli), name)
    assert command is not None
    options = {option for param in command.params if isinstance(param, click.Option) for option in param.opts}
    words = set(re.findall(r"(?<![\w-])--?[a-z][a-z-]*", section(name)))
    assert options - COMMON - words == set()


def test_no_option_is_described_that_does_not_exist() -> None:
    for name in main.COMMANDS:
        command = main.cli.get_command(click.Context(main.cli), name)
        assert command is not None
        options = {
            option
            for param in command.params
            if isinstance(param, click.Option)
            for option in (*param.opts, *param.secondary_opts)
        }
        described = set(re.findall(r"^\| (.*?) \|", section(name), re.MULTILINE))
        words = {word for cell in described for word in re.findall(r"(?<![\w-])--?[a-z][a-z-]*", cell)}
        assert words - options - COMMON == set(), name


def test_completion_knows_the_commands() -> None:
    environ = {**os.environ, "_KJR_COMPLETE": "bash_complete", "COMP_WORDS": "kjr su", "COMP_CWORD": "1"}
    code = "from kube_job_runner.cli.main import main; main()"
    done = subprocess.run([sys.executable, "-c", code], env=environ, capture_output=True, text=True)
    assert done.stdout == "plain,submit\n", done
