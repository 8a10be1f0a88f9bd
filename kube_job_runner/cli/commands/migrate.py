"""`kjr migrate`: the database schema, and the roles of the components in it."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import click

from kube_job_runner.cli import server_settings
from kube_job_runner.cli.terminal import durations

if TYPE_CHECKING:
    from kube_job_runner.settings import Settings

_PAUSE_SECONDS = 2.0


@click.command("migrate", short_help="Bring the database schema up to date.")
@click.option("--roles", is_flag=True, help="Then make one role per component and grant each what it needs, no more.")
@click.option(
    "--print", "print_", is_flag=True, help="With --roles: only print their SQL, for an administrator to run."
)
@click.option("--wait", metavar="DURATION", help="Wait so long for a database that does not answer, such as 5m.")
def command(roles: bool, print_: bool, wait: str | None) -> int:
    """Bring the schema of KJR_DATABASE_URL up to this version. Several may run at once; a second run changes nothing.

    Run it as the owner of the tables. With --roles again after each upgrade: new tables need new grants.
    """
    if print_ and not roles:
        raise click.UsageError("--print goes with --roles: `kjr migrate --roles --print`")
    try:
        wait_seconds = durations.parse(wait) if wait is not None else 0.0
    except ValueError as error:
        raise click.UsageError(f"--wait: {error}") from None
    settings = server_settings.load()
    from kube_job_runner.bootstrap import commands

    if print_:
        click.echo(commands.roles_script(settings), nl=False)
        return 0
    applied = _migrate(settings, wait_seconds=wait_seconds)
    for name in applied:
        click.echo(name)
    click.echo(f"kjr: {len(applied)} migrations applied" if applied else "kjr: the schema is up to date", err=True)
    if roles:
        click.echo(f"kjr: granted {', '.join(commands.grant_roles(settings))}", err=True)
    return 0


def _migrate(settings: Settings, *, wait_seconds: float) -> list[str]:
    from kube_job_runner.bootstrap import commands
    from kube_job_runner.domain.errors import TemporaryError

    deadline = time.monotonic() + wait_seconds
    told = False
    while True:
        try:
            return commands.migrate(settings) or []
        except TemporaryError as error:
            if time.monotonic() + _PAUSE_SECONDS > deadline:
                raise
            if not told:
                click.echo(f"kjr: waiting for the database: {error}", err=True)
                told = True
            time.sleep(_PAUSE_SECONDS)
