"""The table of verbs and the options that stand before a verb."""

from __future__ import annotations

import click
import pytest

from kube_job_runner.cli import main
from tests.unit.cli.conftest import Kjr
from tests.unit.cli.stub import Stub


@pytest.mark.parametrize("name", [*main.COMMANDS])
def test_every_command_has_the_help_that_the_table_shows(kjr: Kjr, name: str) -> None:
    command = main.cli.get_command(click.Context(main.cli), name)
    assert command is not None
    assert command.name == name
    assert command.short_help == main.COMMANDS[name].summary
    assert kjr(name, "--help").code == 0


def test_global_options_may_stand_before_the_command(kjr: Kjr, stub: Stub) -> None:
    assert kjr("--server", stub.url, "--token", "kjr_secret", "list").code == 0
