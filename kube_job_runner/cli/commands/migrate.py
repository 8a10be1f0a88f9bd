"""`kjr migrate`: migrates the database schema, and creates a database role for each component."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import click

from kube_job_runner.cli import server_settings
from kube_job_runner.domain import durations

if TYPE_CHECKING:
    from kube_job_runner.settings import Settings

_PAUSE_SECONDS = 2.0


@click.command("migrate")
@click.option("--roles", is_flag=True, help="Then create one role per component, with only the rights that it needs.")
@click.option(
    "--print", "print_", is_flag=True, help="With --roles: only print the SQL of the roles, for an administrator."
)
@click.option("--wait", metavar="DURATION", help="How long to wait for a database that does not answer, like 5m.")
def command(roles: bool, print_: bool, wait: str | None) -> int:
    """Bring the schema at KJR_DATABASE_URL up to this version. Parallel and repeated runs are safe.

    Run it as the owner of the tables. Run it with --roles again after each upgrade, because new tables need new grants.
    """
    if print_ and not roles:
        raise click.UsageError("--print needs --roles: `kjr migrate --roles --print`")
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
    reported = False
    while True:
        try:
            return commands.migrate(settings) or []
        except TemporaryError as error:
            if time.monotonic() + _PAUSE_SECONDS > deadline:
                raise
            if not reported:
                click.echo(f"kjr: waiting for the database: {error}", err=True)
                reported = True
            time.sleep(_PAUSE_SECONDS)
