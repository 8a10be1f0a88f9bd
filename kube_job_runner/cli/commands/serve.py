"""`kjr serve`: components of the server."""

from __future__ import annotations

import click

from kube_job_runner.cli import server_settings


@click.command("serve", short_help="Start components of the server (all of them, or those named).")
@click.argument("components", nargs=-1, metavar="[COMPONENT...]")
def command(components: tuple[str, ...]) -> int:
    """Start the components named in one process, or all of them; settings come from the environment (`kjr config`).

    COMPONENT is web-server, messages-processor, job-status-processor, pod-events-processor, log-collector, sweeper or, with
    the queue on SQS, outbox-relay. SIGTERM drains.
    """
    settings = server_settings.load()
    from kube_job_runner.bootstrap import commands

    return int(commands.serve(settings, list(components)) or 0)
