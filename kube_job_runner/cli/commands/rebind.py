"""`kjr rebind`: moves the database to another cluster."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import click

from kube_job_runner.cli import server_settings

if TYPE_CHECKING:
    from kube_job_runner.bootstrap.relocating import Move


@click.command("rebind")
@click.option("-y", "--yes", is_flag=True, help="Do not ask for confirmation.")
def command(yes: bool) -> int:
    """Bind the database to the cluster that the settings lead to now. Stop all components first.

    Jobs that are in the old cluster are recorded as failed (ClusterReplaced) and do not run again by themselves. They may
    still run there. Jobs that wait will run in the new cluster. Run it as the owner of the tables.
    """
    settings = server_settings.load()
    from kube_job_runner.bootstrap import commands

    same = False

    def confirm(move: Move) -> bool:
        nonlocal same
        same = not move.needed
        if same:
            click.echo(f"kjr: the database belongs to the {move.found} already", err=True)
            return False
        for known in move.bound:
            click.echo(f"kjr: the database belongs to the {known}", err=True)
        click.echo(f"kjr: the settings lead to the {move.found}", err=True)
        click.echo(
            f"kjr: {move.live} jobs may be in the old cluster; they will be recorded as failed, and may still run there",
            err=True,
        )
        click.echo(f"kjr: {move.waiting} jobs wait; they will run in the new cluster", err=True)
        return yes or _agreed()

    ended = commands.rebind(settings, confirm)
    if ended is None:
        return 0 if same else 1
    click.echo(f"kjr: moved; {ended} jobs were recorded as failed", err=True)
    return 0


def _agreed() -> bool:
    if not sys.stdin.isatty():
        click.echo("kjr: nothing was changed; add --yes", err=True)
        return False
    return click.confirm("Move the database?", err=True)
