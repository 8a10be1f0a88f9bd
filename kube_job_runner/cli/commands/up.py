"""`kjr up`: runs the whole server in one process, with its own database."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from kube_job_runner.cli import server_settings

if TYPE_CHECKING:
    from kube_job_runner.settings import Settings


@click.command("up")
@click.option(
    "--cluster", type=click.Choice(["local", "kubernetes", "simulated"]), envvar="KJR_CLUSTER", default="local",
    show_default=True,
    help="What runs the jobs: child processes of the server (images are not used), a Kubernetes cluster, or a simulation.",
)  # fmt: skip
@click.option("--host", help="Address to listen on. [default: 127.0.0.1]")
@click.option("--port", type=click.IntRange(0, 65535), help="Port to listen on; 0 takes a free one. [default: 8080]")
@click.option("--data", type=click.Path(file_okay=False), help="Folder for the database, the logs and the token.")
@click.option("-q", "--quiet", is_flag=True, help="Print no banner; log only warnings.")
def command(*, cluster: str, host: str | None, port: int | None, data: str | None, quiet: bool) -> int:
    """Start everything in one process: web server, processors, and its own PostgreSQL unless KJR_DATABASE_URL is set.

    The other verbs on this machine find the server by themselves. Ctrl-C stops it. No job is lost, however it is stopped.
    """
    settings = server_settings.load(
        cluster=cluster, host=host, port=port, data_dir=data, log_level="warning" if quiet else None
    )

    def on_ready(url: str, token: str) -> None:
        if not quiet:
            _print_banner(url, token, settings)

    from kube_job_runner.bootstrap import commands

    return commands.up(settings, on_ready=on_ready)


def _print_banner(url: str, token: str, settings: Settings) -> None:
    """Print the address of the server and first commands. Only the beginning of the token is shown: terminals are recorded."""
    lines = [
        f"kube-job-runner is up at {url}  (cluster: {settings.cluster.kind}, API: {url}/docs)",
        f"token: {token[:12]}…  in {settings.process.data_dir / 'connection.json'}; kjr finds it on this machine"
        if token
        else "no authentication: everybody on this machine can use the server",
    ]
    if settings.cluster.kind == "local":
        lines.append("the local cluster runs commands as processes of this machine; images are not used")
    lines += ["", "try:  kjr run busybox -- echo hello", "      kjr list", "stop: Ctrl-C"]
    click.echo("\n".join(lines), err=True)
