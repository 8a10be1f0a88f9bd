"""`kjr migrate`: the database schema, and the roles of the components in it."""

from __future__ import annotations

import click

from kube_job_runner.cli import server


@click.command("migrate", short_help="Bring the database schema up to date.")
@click.option("--roles", is_flag=True, help="Then make one role per component and grant each what it needs, no more.")
@click.option(
    "--print", "print_", is_flag=True, help="With --roles: only print their SQL, for an administrator to run."
)
def command(roles: bool, print_: bool) -> int:
    """Bring the schema of KJR_DATABASE_URL up to this version. Several may run at once; a second run changes nothing.

    Run it as the owner of the tables. With --roles again after each upgrade: new tables need new grants.
    """
    if print_ and not roles:
        raise click.UsageError("--print goes with --roles: `kjr migrate --roles --print`")
    settings = server.settings()
    from kube_job_runner import bootstrap

    if print_:
        click.echo(bootstrap.roles_script(settings), nl=False)
        return 0
    applied = bootstrap.migrate(settings) or []
    for name in applied:
        click.echo(name)
    click.echo(f"kjr: {len(applied)} migrations applied" if applied else "kjr: the schema is up to date", err=True)
    if roles:
        click.echo(f"kjr: granted {', '.join(bootstrap.grant_roles(settings))}", err=True)
    return 0
