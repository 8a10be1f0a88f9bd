"""`kjr run`: submit, phases, log, and the job's own exit code."""

from __future__ import annotations

from typing import Any

import click

from kube_job_runner.cli import invocation, options, runspec

_OUTPUTS = ("log", "json", "jsonl", "yaml", "name", "id")


class RunCommand(click.Command):
    """The command, with a hint where a flag of CMD was taken for one of ours."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Parse the command line."""
        typed = list(args)
        try:
            return super().parse_args(ctx, args)
        except click.NoSuchOption as error:
            if "--" in typed:
                raise
            message = f"{error.format_message()} Put -- before CMD when it has flags of its own."
            raise click.UsageError(message, ctx) from None


@click.command("run", cls=RunCommand, short_help="Run a container: submit, show phases and log, return its exit code.")
@click.argument("image")
@click.argument("cmd", nargs=-1, metavar="[-- CMD...]", type=click.UNPROCESSED)
@click.option("-e", "--env", multiple=True, type=options.KEY_VALUE, help="Environment variable; may be repeated.")
@click.option("--env-file", "env_files", multiple=True, metavar="FILE", help="File of KEY=VALUE lines.")
@click.option("--secret", "secrets", multiple=True, metavar="ENV=NAME:KEY", help="Variable from a Kubernetes Secret.")
@click.option("--cpu", metavar="QUANTITY", help="CPU to ask for, like 500m or 2.")
@click.option("--memory", metavar="QUANTITY", help="Memory to ask for and not exceed, like 512Mi.")
@click.option("--gpu", type=click.IntRange(0), help="Number of GPUs.")
@click.option("-q", "--queue", help="Queue to wait in.")
@click.option("--name", help="Name of the job; by default made from the image.")
@click.option("-l", "--label", "labels", multiple=True, type=options.KEY_VALUE, help="Label; may be repeated.")
@click.option("--timeout", type=options.DURATION, help="How long it may run, like 10m.")
@click.option("--start-timeout", type=options.DURATION, help="How long it may take to start.")
@click.option("--queue-timeout", type=options.DURATION, help="How long it may wait in the queue.")
@click.option("--retries", type=click.IntRange(0), help="How often a failed run is tried again.")
@click.option("--priority", type=int, help="From -100 to 100; higher goes first.")
@click.option("--namespace", help="Kubernetes namespace to run in.")
@click.option("--service-account", metavar="NAME", help="Kubernetes service account to run as.")
@click.option("--workdir", "working_dir", metavar="PATH", help="Directory that the command starts in.")
@click.option("--keep-entrypoint", "entrypoint", is_flag=True, help="Give CMD to the image's entrypoint as arguments.")
@click.option("-d", "--detach", is_flag=True, help="Print the id and leave.")
@click.option("--dry-run", is_flag=True, help="Print the spec and submit nothing.")
@click.option("--idempotency-key", metavar="KEY", help="The same key never makes a second job.")
@click.option(
    "--on-interrupt",
    type=click.Choice(["detach", "cancel"]),
    help="What Ctrl-C does; by default it detaches on a terminal (twice cancels) and cancels elsewhere.",
)
@options.output(*_OUTPUTS, default="log", short_quiet=False)
@options.connection
def command(
    cmd: tuple[str, ...],
    *,
    detach: bool,
    dry_run: bool,
    idempotency_key: str | None,
    on_interrupt: str | None,
    **flags: Any,
) -> int:
    """Run CMD in IMAGE and return its exit code.

    The job's phases and messages go to stderr, its log to stdout. CMD is the whole command; with --keep-entrypoint it is
    the arguments of the image's entrypoint. The last line of stderr says why a job failed.
    """
    current = invocation.current()
    spec = runspec.build(runspec.RunFlags(command=cmd, **flags))
    if dry_run:
        from kube_job_runner.cli.terminal import output

        output.write_objects([spec], "json" if current.output in ("json", "jsonl") else "yaml", single=True)
        return 0
    if detach:
        return _detached(current, spec, idempotency_key)
    return _attach(current, spec, idempotency_key, on_interrupt)


def _detached(current: invocation.Invocation, spec: dict[str, Any], key: str | None) -> int:
    from kube_job_runner.cli import job_reference
    from kube_job_runner.cli.attach import attached_run
    from kube_job_runner.cli.terminal import output

    with current.client(patience=10.0) as client:
        job = client.submit(spec, idempotency_key=key)
        job_reference.remember(client, job.id)
    attached_run.report_warnings(current, job)
    output.write_objects([job.raw], "id" if current.output == "log" else current.output, single=True)
    attached_run.print_detached(current, job)
    return 0


def _attach(current: invocation.Invocation, spec: dict[str, Any], key: str | None, on_interrupt: str | None) -> int:
    from kube_job_runner.cli.attach import attached_run
    from kube_job_runner.client import api_calls

    key = key or api_calls.new_idempotency_key()
    with current.client(patience=6.0) as client:
        attached = attached_run.AttachedRun(current, client, key, on_interrupt)
        return attached.run(lambda: client.submit(spec, idempotency_key=key))
