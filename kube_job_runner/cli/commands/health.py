"""`kjr health`: the probes of a process beside this one, for places that run a command (exec probes, compose)."""

from __future__ import annotations

import http.client
from typing import TYPE_CHECKING

import click

from kube_job_runner.cli import options, server_settings

if TYPE_CHECKING:
    from kube_job_runner.settings import Settings

WEB_SERVER = "web-server"
_ANSWER_MAX_BYTES = 64 * 1024
_ANYWHERE = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - what is listened on, and where to reach it


@click.command("health", short_help="Ask whether the components started here are well.")
@click.argument("components", nargs=-1, metavar="[COMPONENT...]")
@click.option("--live", is_flag=True, help="Ask only whether it lives (/livez), not whether it is ready (/readyz).")
@click.option(
    "--timeout", type=options.DURATION, default="5s", show_default=True, help="How long to wait for the answer."
)
@click.option("-q", "--quiet", is_flag=True, help="Print nothing; the exit code is the answer.")
def command(components: tuple[str, ...], *, live: bool, timeout: float, quiet: bool) -> int:
    """Ask a process that `kjr serve [COMPONENT...]` started here, by the same settings: exit code 0 when it is well, else 1.

    Name the components as they were named for `kjr serve`: with web-server among them, or without any, KJR_PORT is asked,
    else KJR_METRICS_PORT.
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
        from kube_job_runner.cli.terminal import text

        click.echo(text.block(body.rstrip("\n")))
    if status != 200:
        click.echo(f"kjr: {shown} answers {status}", err=True)
    return 0 if status == 200 else 1


def _port(settings: Settings, components: tuple[str, ...]) -> int:
    web = not components or WEB_SERVER in components
    name, port = ("KJR_PORT", settings.web.port) if web else ("KJR_METRICS_PORT", settings.process.metrics_port)
    if port <= 0:
        what = "none" if port < 0 else "a free one, which nobody else knows"
        raise click.UsageError(f"{name}={port} means {what}: set {name} to the port that the process listens on")
    return port


def _ask(host: str, port: int, path: str, *, timeout_seconds: float) -> tuple[int, str]:
    connection = http.client.HTTPConnection(host, port, timeout=timeout_seconds)
    try:
        connection.request("GET", path, headers={"Connection": "close"})
        answer = connection.getresponse()
        return answer.status, answer.read(_ANSWER_MAX_BYTES).decode("utf-8", "replace")
    finally:
        connection.close()
