"""`kjr token`: creates, lists and revokes API tokens, directly in the database."""

import click

from kube_job_runner.cli import exitcodes, invocation, options, server_settings
from kube_job_runner.cli.terminal import output, tables


@click.group("token")
def command() -> None:
    """Create, list and revoke API tokens. This needs KJR_DATABASE_URL, or the data directory of `kjr up`."""


@command.command("create")
@click.argument("name")
def create(name: str) -> None:
    """Create a token and print it. It is shown only once, because only its hash is stored."""
    settings = server_settings.load()
    from kube_job_runner.bootstrap import commands

    click.echo(commands.create_token(settings, name))


@command.command("list")
@options.output("table", "json", "jsonl", "yaml", "name")
def list_(**_: object) -> None:
    """List the tokens, newest first, without their secrets."""
    settings = server_settings.load()
    from kube_job_runner.bootstrap import commands

    current = invocation.current()
    names = ("name", "prefix", "created_at", "expires_at", "revoked_at")
    tokens = [{name: getattr(token, name) for name in names} for token in commands.list_tokens(settings)]
    if current.output != "table":
        output.write_objects([output.plain(token) for token in tokens], current.output)
        return
    rows = []
    for token in tokens:
        created = f"{token['created_at']:%Y-%m-%d %H:%M}" if token["created_at"] else ""
        rows.append(
            tables.cells(token["name"], token["prefix"], created, "revoked" if token["revoked_at"] else "active")
        )
    output.write_table(tables.columns("NAME", "PREFIX", "CREATED", "STATE"), rows, current)


@command.command("revoke")
@click.argument("name")
def revoke(name: str) -> int:
    """Revoke all tokens with this name. Servers refuse them within seconds."""
    settings = server_settings.load()
    from kube_job_runner.bootstrap import commands

    count = commands.revoke_token(settings, name)
    click.echo(f"kjr: {count} revoked", err=True)
    return 0 if count else exitcodes.NOT_FOUND
