"""The command `kjr`: a table of commands that are imported by name, and the one place where errors become exit codes.

`kjr --help` shows the table without importing a command, so it stays fast whatever the commands need.
"""

from __future__ import annotations

import importlib
import os
import sys
from typing import Any, NamedTuple

import click

import kube_job_runner
from kube_job_runner.cli import invocation
from kube_job_runner.cli.terminal import text


class Entry(NamedTuple):
    """Where a command is and the line that `kjr --help` shows for it."""

    module: str
    summary: str
    group: str = "Jobs"


COMMANDS: dict[str, Entry] = {
    "run": Entry("run", "Run a container: submit, show phases and log, return its exit code."),
    "submit": Entry("submit", "Submit jobs from YAML or JSON files."),
    "list": Entry("list", "List jobs, newest first (also: ls, ps)."),
    "get": Entry("get", "Show jobs: state, phases, attempts, reason, next step."),
    "logs": Entry("logs", "Print or follow the log of a job."),
    "wait": Entry("wait", "Wait for the end of jobs and return the exit code."),
    "cancel": Entry("cancel", "Cancel jobs."),
    "classify": Entry("classify", "Say what the failure rules make of messages of a cluster."),
    "rerun": Entry("rerun", "Run jobs again, as they were or changed."),
    "explain": Entry("explain", "Explain a job (what happened, or why it waits) or a reason code."),
    "events": Entry("events", "Show what happened to a job, in order of time (also: timeline)."),
    "simulate": Entry("simulate", "Try out a retry policy on jobs that ran, or on failures."),
    "up": Entry("up", "Start a server with its own database on this machine.", "Server"),
    "demo": Entry("demo", "Start a server, run three jobs on it, show what became of them.", "Server"),
    "serve": Entry("serve", "Start components of the server (all of them, or those named).", "Server"),
    "health": Entry("health", "Ask whether the components started here are well.", "Server"),
    "migrate": Entry("migrate", "Bring the database schema up to date.", "Server"),
    "queue": Entry("queue", "Make and check the queue on SQS.", "Server"),
    "token": Entry("token", "Create, list and revoke API tokens.", "Server"),
    "config": Entry("config", "Print, show or check the settings of the server.", "Server"),
    "doctor": Entry("doctor", "Check configuration, database, cluster and rights; say what to mend.", "Server"),
    "version": Entry("version", "Print the versions of this client and of the server.", "Server"),
}
ALIASES = {"ls": "list", "ps": "list", "timeline": "events"}
WAITING = frozenset({"run", "wait"})


class LazyGroup(click.Group):
    """A group whose commands are imported when they are called."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names of the commands."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import a command."""
        name = ALIASES.get(cmd_name, cmd_name)
        entry = COMMANDS.get(name)
        if entry is None:
            return None
        if isinstance(ctx.obj, invocation.Invocation):
            ctx.obj.waiting = name in WAITING
        command = importlib.import_module(f"kube_job_runner.cli.commands.{entry.module}").command
        assert isinstance(command, click.Command)
        return command

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command; when the reader of our output has gone, say nothing more (click would make it an error)."""
        try:
            return super().invoke(ctx)
        except BrokenPipeError:
            return _reader_gone()

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the table of commands."""
        for group in ("Jobs", "Server"):
            with formatter.section(group):
                formatter.write_dl([(name, entry.summary) for name, entry in COMMANDS.items() if entry.group == group])


@click.group(
    cls=LazyGroup,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="An ID may be an id, the first characters of one, the name of a job (the newest), or @last.",
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
        return 125 if current.waiting else 2
    except click.ClickException as error:
        click.echo(f"kjr: {text.block(error.format_message())}", err=True)
        return 125 if current.waiting else error.exit_code
    except (KeyboardInterrupt, click.Abort, EOFError):
        click.echo("kjr: interrupted", err=True)
        return 130
    except Exception as error:  # noqa: BLE001 - a bug is reported with its traceback and the exit code of one
        return _failed(error, current)
    return result if isinstance(result, int) else 0


def _failed(error: Exception, current: invocation.Invocation) -> int:
    from kube_job_runner.cli import error_report

    code = error_report.report(error, current)
    if code is None:
        import traceback

        traceback.print_exception(error)
        click.echo("kjr: this is a bug in kjr; please report it with the lines above", err=True)
        return 125 if current.waiting else 1
    return code


def _reader_gone() -> int:
    # The interpreter flushes stdout once more at its end; give it somewhere to write to.
    devnull = os.open(os.devnull, os.O_WRONLY)
    os.dup2(devnull, sys.stdout.fileno())
    return 141


def invoke(*args: Any) -> int:
    """Run a command line given as arguments: what tests and other commands of ours use."""
    return run([str(arg) for arg in args])


if __name__ == "__main__":
    main()
