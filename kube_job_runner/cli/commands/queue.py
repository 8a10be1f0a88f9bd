"""`kjr queue`: creates and checks the SQS queue."""

import click

from kube_job_runner.cli import server_settings

_IN_DATABASE = "kjr: the queue is in the database (KJR_QUEUE=postgres): `kjr migrate` creates it"


@click.group("queue")
def command() -> None:
    """Create and check the queue that KJR_QUEUE names. This needs AWS credentials, but no database."""


@command.command("init")
def init() -> None:
    """Create the queue, its dead-letter queue and its redrive policy. What exists already is kept."""
    settings = server_settings.load()
    from kube_job_runner.bootstrap import commands

    done = commands.init_queue(settings)
    if done is None:
        click.echo(_IN_DATABASE, err=True)
        return
    for line in done:
        click.echo(line)
    if not done:
        click.echo("kjr: the queue and its dead-letter queue exist already", err=True)


@command.command("check")
def check() -> int:
    """Check the queue: print the number of messages, and every problem. Exit code 1: there is a problem."""
    settings = server_settings.load()
    from kube_job_runner.bootstrap import commands

    found = commands.check_queue(settings)
    if found is None:
        click.echo(_IN_DATABASE, err=True)
        return 0
    problems, counts = found
    waiting = counts.waiting + counts.delayed
    click.echo(f"{waiting} messages waiting, {counts.in_flight} in flight, {counts.dead} dead letters")
    for problem in problems:
        click.echo(f"kjr: {problem}", err=True)
    return 1 if problems else 0
