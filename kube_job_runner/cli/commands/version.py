"""`kjr version`: prints the versions of this client and of the server."""

import re
from typing import Any

import click

import kube_job_runner
from kube_job_runner.cli import invocation, options
from kube_job_runner.cli.terminal import output, text


@click.command("version")
@click.option("--client", "client_only", is_flag=True, help="Do not ask the server.")
@options.output("table", "json", "jsonl", "yaml")
@options.connection
def command(*, client_only: bool) -> None:
    """Print the versions of this client and of the server, and warn if they are not compatible."""
    current = invocation.current()
    answer: dict[str, Any] = {"client": kube_job_runner.__version__}
    if not client_only:
        _ask(current, answer)
    if current.output != "table":
        output.write_objects([answer], current.output, single=True)
        return
    click.echo(f"client {answer['client']}")
    if answer.get("server"):
        click.echo(text.line(f"server {answer['server'].get('version', 'unknown')} at {answer['url']}"))


def _ask(current: invocation.Invocation, answer: dict[str, Any]) -> None:
    from kube_job_runner.client import errors

    try:
        with current.client(patience=0.5) as client:
            answer["server"] = client.version()
            answer["url"] = client.server
    except errors.NotConfigured as error:
        current.note(f"kjr: {error}")
        return
    minimum = answer["server"].get("minimum_client")
    if isinstance(minimum, str) and _numbers(answer["client"]) < _numbers(minimum):
        current.say(f"kjr: this client is too old for the server, which needs at least {minimum}; update it")
    elif _numbers(answer["client"])[:2] > _numbers(str(answer["server"].get("version", "")))[:2]:
        current.note("kjr: this client is newer than the server; new options may not work")


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", version)[:3])
