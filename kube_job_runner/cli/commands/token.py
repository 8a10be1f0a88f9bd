"""`kjr token`: creates, lists and revokes API tokens, directly in the database."""

from __future__ import annotations

import click

from kube_job_runner.cli import exitcodes, invocation, options, server_settings
from kube_job_runner.cli.terminal import output, tables, text


@click.group("token")
def command() -> None:
    """Create, list and revoke API tokens. This needs KJR_DATABASE_URL, or the data directory of `kjr up`."""


@command.command("create")
@click.argument("name")
def create(name: str) -> int:
    """Create a token and print it. It is shown only once, because only its hash is stored."""
    settings = server_settings.load()
    from kube_job_runner.bootstrap import commands

    click.echo(commands.create_token(settings, name))
    return 0


@command.command("list")
@options.output("table", "json", "jsonl", "yaml", "name")
def list_(**_: object) -> int:
    """List the tokens, newest first, without their secrets."""
    settings = server_settings.load()
    from kube_job_runner.bootstrap import commands

    current = invocation.current()
    tokens = [
        {
            "name": token.name,
            "prefix": token.prefix,
            "created_at": token.created_at,
            "expires_at": token.expires_at,
            "revoked_at": token.revoked_at,
        }
        for token in commands.list_tokens(settings)
    ]
    if current.output != "table":
        output.write_objects([output.plain(token) for token in tokens], current.output)
        return 0
    columns = [tables.Column(title) for title in ("NAME", "PREFIX", "CREATED", "STATE")]
    rows = [
        [
            text.line(token["name"]),
            text.line(token["prefix"]),
            f"{token['created_at']:%Y-%m-%d %H:%M}" if token["created_at"] else "",
            "revoked" if token["revoked_at"] else "active",
        ]
        for token in tokens
    ]
    output.write_table(columns, rows, current)
    return 0


@command.command("revoke")
@click.argument("name")
def revoke(name: str) -> int:
    """Revoke all tokens with this name. Servers refuse them within seconds."""
    settings = server_settings.load()
    from kube_job_runner.bootstrap import commands

    count = commands.revoke_token(settings, name)
    click.echo(f"kjr: {count} revoked", err=True)
    return 0 if count else exitcodes.NOT_FOUND
