"""The command `kjr`: the table of its verbs, and the one place where errors become exit codes.

`kjr --help` prints the table without importing a verb, so it is fast whatever the verbs import.
"""

import importlib
import os
import sys
from typing import Any, NamedTuple

import click

import kube_job_runner
from kube_job_runner.cli import exitcodes, invocation
from kube_job_runner.cli.terminal import text


class Verb(NamedTuple):
    """A row of the table. The verb's command is in `cli/commands/<name>.py`; `waits` means that it returns a job's exit code."""

    summary: str
    group: str = "Jobs"
    aliases: tuple[str, ...] = ()
    waits: bool = False


COMMANDS: dict[str, Verb] = {
    "run": Verb("Run a container: submit, show phases and log, return its exit code.", waits=True),
    "submit": Verb("Submit jobs from YAML or JSON files."),
    "list": Verb("List jobs, newest first (also: ls, ps).", aliases=("ls", "ps")),
    "get": Verb("Show jobs: state, phases, attempts, reason, next step."),
    "logs": Verb("Print or follow the log of a job."),
    "wait": Verb("Wait until jobs have ended; return their exit code.", waits=True),
    "cancel": Verb("Cancel jobs."),
    "classify": Verb("Apply the failure rules to messages from a cluster."),
    "rerun": Verb("Run jobs again, with or without changes."),
    "explain": Verb("Explain a job (what happened, or why it waits) or a reason code."),
    "events": Verb("Show what happened to a job, in order of time (also: timeline).", aliases=("timeline",)),
    "simulate": Verb("Try a retry policy on past jobs, or on failures."),
    "up": Verb("Start a server with its own database on this machine.", "Server"),
    "demo": Verb("Start a server, run three jobs, show their results.", "Server"),
    "serve": Verb("Start components of the server: all, or the named ones.", "Server"),
    "health": Verb("Check whether the components on this machine are healthy.", "Server"),
    "migrate": Verb("Bring the database schema up to date.", "Server"),
    "queue": Verb("Create and check the SQS queue.", "Server"),
    "rebind": Verb("Move the database to another cluster.", "Server"),
    "token": Verb("Create, list and revoke API tokens.", "Server"),
    "config": Verb("Print, show or check the settings of the server.", "Server"),
    "doctor": Verb("Check configuration, database, cluster and rights; say what to fix.", "Server"),
    "version": Verb("Print the versions of this client and of the server.", "Server"),
}
ALIASES = {alias: name for name, verb in COMMANDS.items() for alias in verb.aliases}


class LazyGroup(click.Group):
    """A group that imports a command only when it is called."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        name = ALIASES.get(cmd_name, cmd_name)
        verb = COMMANDS.get(name)
        if verb is None:
            return None
        if isinstance(ctx.obj, invocation.Invocation):
            ctx.obj.waiting = verb.waits
        command = importlib.import_module(f"kube_job_runner.cli.commands.{name}").command
        assert isinstance(command, click.Command)
        command.short_help = verb.summary
        return command

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command. If the reader of the output has closed the pipe, end quietly (click would report an error)."""
        try:
            return super().invoke(ctx)
        except BrokenPipeError:
            return _reader_gone()

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        for group in ("Jobs", "Server"):
            with formatter.section(group):
                formatter.write_dl([(name, verb.summary) for name, verb in COMMANDS.items() if verb.group == group])


@click.group(
    cls=LazyGroup,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="ID is a job's id, the first characters of it, a job's name (its newest job), or @last.",
)
@click.option("--server", metavar="URL", help="Server to talk to. [env: KJR_SERVER]")
@click.option("--token", metavar="TOKEN", help="Bearer token. [env: KJR_TOKEN]")
@click.option("--no-color", is_flag=True, help="No colour. [env: NO_COLOR]")
@click.version_option(kube_job_runner.__version__, "-V", "--version", message="kjr %(version)s")
@click.pass_context
def cli(ctx: click.Context, server: str | None, token: str | None, no_color: bool) -> None:
    """Run any container to completion on Kubernetes, and always know the truth about it."""
    current = ctx.obj
    current.server, current.token = server, token
    if no_color:
        current.color = False


def main(args: list[str] | None = None) -> None:
    """Run the command line and end the process with its exit code."""
    code = run(args)
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        code = _reader_gone()
    sys.exit(code)


def run(args: list[str] | None = None) -> int:
    """Run the command line and return its exit code."""
    current = invocation.Invocation()
    try:
        result = cli.main(args=args, prog_name="kjr", standalone_mode=False, obj=current)
    except click.exceptions.Exit as stop:
        return stop.exit_code
    except click.UsageError as error:
        error.show()
        return exitcodes.NO_EXIT_CODE if current.waiting else exitcodes.USAGE
    except click.ClickException as error:
        click.echo(f"kjr: {text.block(error.format_message())}", err=True)
        return exitcodes.NO_EXIT_CODE if current.waiting else error.exit_code
    except (KeyboardInterrupt, click.Abort, EOFError):
        click.echo("kjr: interrupted", err=True)
        return exitcodes.INTERRUPTED
    except Exception as error:  # noqa: BLE001 - a bug is reported with its traceback and the exit code of one
        return _failed(error, current)
    return result if isinstance(result, int) else exitcodes.OK


def _failed(error: Exception, current: invocation.Invocation) -> int:
    from kube_job_runner.cli import error_report

    code = error_report.report(error, current)
    if code is None:
        import traceback

        from kube_job_runner import settings
        from kube_job_runner.telemetry.loggers import Cleaner

        click.echo(Cleaner(settings.environment_secrets()).text("".join(traceback.format_exception(error))), err=True)
        click.echo("kjr: this is a bug in kjr; please report it with the lines above", err=True)
        return exitcodes.NO_EXIT_CODE if current.waiting else exitcodes.ERROR
    return code


def _reader_gone() -> int:
    # The interpreter flushes stdout once more at its end. It needs a place to write to.
    devnull = os.open(os.devnull, os.O_WRONLY)
    os.dup2(devnull, sys.stdout.fileno())
    return exitcodes.READER_GONE


if __name__ == "__main__":
    main()
