"""`kjr queue`: the queue outside the database, made and checked by an operator."""

from __future__ import annotations

import click

from kube_job_runner.cli import server_settings

_IN_DATABASE = "kjr: the queue is in the database (KJR_QUEUE=postgres): `kjr migrate` makes it"


@click.group("queue", short_help="Make and check the queue on SQS.")
def command() -> None:
    """Make and check the queue that KJR_QUEUE names. Needs AWS credentials, and no database."""


@command.command("init")
def init() -> int:
    """Make the queue, its dead-letter queue and its redrive policy, as far as they are missing. What is there is kept."""
    settings = server_settings.load()
    from kube_job_runner.bootstrap import commands

    done = commands.init_queue(settings)
    if done is None:
        click.echo(_IN_DATABASE, err=True)
        return 0
    for line in done:
        click.echo(line)
    if not done:
        click.echo("kjr: the queue is there, with its dead-letter queue", err=True)
    return 0


@command.command("check")
def check() -> int:
    """Say how many messages there are, and what does not fit: exit code 1 when anything does not."""
    settings = server_settings.load()
    from kube_job_runner.bootstrap import commands

    found = commands.check_queue(settings)
    if found is None:
        click.echo(_IN_DATABASE, err=True)
        return 0
    problems, counts = found
    waiting = counts.waiting + counts.delayed
    click.echo(f"{waiting} messages wait, {counts.in_flight} are being handled, {counts.dead} are dead letters")
    for problem in problems:
        click.echo(f"kjr: {problem}", err=True)
    return 1 if problems else 0
