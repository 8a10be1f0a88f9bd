"""`kjr migrate`: the database schema."""

from __future__ import annotations

import click

from kube_job_runner.cli import server


@click.command("migrate", short_help="Bring the database schema up to date.")
def command() -> int:
    """Bring the schema of KJR_DATABASE_URL up to this version. Several may run at once; a second run changes nothing."""
    settings = server.settings()
    from kube_job_runner import bootstrap

    applied = bootstrap.migrate(settings) or []
    for name in applied:
        click.echo(name)
    click.echo(f"kjr: {len(applied)} migrations applied" if applied else "kjr: the schema is up to date", err=True)
    return 0
