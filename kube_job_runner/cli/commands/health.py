"""`kjr health`: asks the probes of a local server process, for exec probes and Docker Compose."""

from __future__ import annotations

import http.client
from typing import TYPE_CHECKING

import click

from kube_job_runner.cli import options, server_settings
from kube_job_runner.cli.terminal import text

if TYPE_CHECKING:
    from kube_job_runner.settings import Settings

WEB_SERVER = "web-server"
_ANSWER_MAX_BYTES = 64 * 1024
_ANYWHERE = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - listen addresses, and how to reach them


@click.command("health")
@click.argument("components", nargs=-1, metavar="[COMPONENT...]")
@click.option(
    "--live", is_flag=True, help="Ask only whether the process is alive (/livez), not whether it is ready (/readyz)."
)
@click.option("--timeout", type=options.DURATION, default="5s", show_default=True, help="Time limit for the answer.")
@click.option("-q", "--quiet", is_flag=True, help="Print nothing; only set the exit code.")
def command(components: tuple[str, ...], *, live: bool, timeout: float, quiet: bool) -> int:
    """Check a process that `kjr serve [COMPONENT...]` started on this machine. Exit code 0: healthy; 1: not.

    Name the same components as for `kjr serve`, and use the same settings. With web-server, or without any component, the
    process is asked at KJR_PORT, else at KJR_METRICS_PORT.
    """
    settings = server_settings.load()
    host = _ANYWHERE.get(settings.web.host.strip("[]"), settings.web.host.strip("[]"))
    port = _port(settings, components)
    path = "/livez" if live else "/readyz?verbose"
    shown = f"http://{f'[{host}]' if ':' in host else host}:{port}{path}"
    try:
        status, body = _ask(host, port, path, timeout_seconds=timeout)
    except (OSError, http.client.HTTPException) as error:
        raise click.ClickException(f"{shown} does not answer: {error}") from None
    if not quiet:
        click.echo(text.block(body.rstrip("\n")))
    if status != 200:
        click.echo(f"kjr: {shown} answers {status}", err=True)
    return 0 if status == 200 else 1


def _port(settings: Settings, components: tuple[str, ...]) -> int:
    web = not components or WEB_SERVER in components
    name, port = ("KJR_PORT", settings.web.port) if web else ("KJR_METRICS_PORT", settings.process.metrics_port)
    if port <= 0:
        what = "no port" if port < 0 else "any free port"
        raise click.UsageError(f"{name}={port} means {what}; set {name} to the port of the process")
    return port


def _ask(host: str, port: int, path: str, *, timeout_seconds: float) -> tuple[int, str]:
    connection = http.client.HTTPConnection(host, port, timeout=timeout_seconds)
    try:
        connection.request("GET", path, headers={"Connection": "close"})
        answer = connection.getresponse()
        return answer.status, answer.read(_ANSWER_MAX_BYTES).decode("utf-8", "replace")
    finally:
        connection.close()
