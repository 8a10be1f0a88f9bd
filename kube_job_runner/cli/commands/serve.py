"""`kjr serve`: runs components of the server in one process."""

import click

from kube_job_runner.cli import server_settings


@click.command("serve")
@click.argument("components", nargs=-1, metavar="[COMPONENT...]")
def command(components: tuple[str, ...]) -> int:
    """Start components in one process: the named ones, or all. Settings come from the environment (`kjr config`).

    COMPONENT is web-server, messages-processor, job-status-processor, pod-events-processor, log-collector, sweeper or, with
    the SQS queue, outbox-relay. SIGTERM drains the process.
    """
    settings = server_settings.load()
    from kube_job_runner.bootstrap import commands

    return commands.serve(settings, list(components))
