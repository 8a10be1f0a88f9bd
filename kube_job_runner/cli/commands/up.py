"""`kjr up`: the whole product in one process, with a database of its own."""

from __future__ import annotations

import click

from kube_job_runner.cli import server_settings


@click.command("up", short_help="Start a server with its own database on this machine.")
@click.option(
    "--cluster",
    type=click.Choice(["local", "kubernetes", "simulated"]),
    envvar="KJR_CLUSTER",
    default="local",
    show_default=True,
    help="What runs the jobs: child processes of the server (images are not used), a Kubernetes cluster, or a script.",
)
@click.option("--host", help="Address to listen on. [default: 127.0.0.1]")
@click.option("--port", type=click.IntRange(0, 65535), help="Port to listen on; 0 takes a free one. [default: 8080]")
@click.option("--data", type=click.Path(file_okay=False), help="Folder of the database, logs and token.")
@click.option("-q", "--quiet", is_flag=True, help="No banner; log only warnings.")
def command(*, cluster: str, host: str | None, port: int | None, data: str | None, quiet: bool) -> int:
    """Start everything in one process: web server, processors, and a PostgreSQL of its own unless KJR_DATABASE_URL is set.

    The other commands find it by themselves. Ctrl-C stops it; nothing is lost by stopping it in any way.
    """
    settings = server_settings.load(
        cluster=cluster, host=host, port=port, data_dir=data, log_level="warning" if quiet else None
    )

    def on_ready(url: str, token: str) -> None:
        if not quiet:
            server_settings.banner(url, token, settings)

    from kube_job_runner.bootstrap import commands

    return int(commands.up(settings, on_ready=on_ready) or 0)
