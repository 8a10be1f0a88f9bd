"""One invocation of `kjr`: the options that all verbs share, messages on stderr, and the client for the server."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import click

from kube_job_runner.cli.terminal import text
from kube_job_runner.domain import durations

if TYPE_CHECKING:
    from kube_job_runner.client import Client

BUDGET_SECONDS = 5.0
OUTAGE_SECONDS = 600.0
UNREACHED_SECONDS = 1.0


@dataclass
class Invocation:
    """The options that all verbs share. `waiting` is set by verbs that return the exit code of a job."""

    server: str | None = None
    token: str | None = None
    output: str = "table"
    quiet: bool = False
    color: bool | None = None
    waiting: bool = False
    ending: bool = False
    """Whether the command is ending. Then connections are lost because we close them, and nothing is reported."""
    _said: set[str] = field(default_factory=set)

    def client(self, *, patience: float = 1.0) -> Client:
        """Return a client for the server; the caller closes it. `patience` multiplies the time for which a call is retried."""
        from kube_job_runner.client import Client, RetryPolicy

        return Client(
            self.server,
            self.token,
            retry=RetryPolicy(budget_seconds=BUDGET_SECONDS * patience, unreached_seconds=UNREACHED_SECONDS),
            outage_seconds=OUTAGE_SECONDS,
            on_retry=self._on_retry,
        )

    def note(self, message: str) -> None:
        """Print a message on stderr, unless `--quiet` is set."""
        if not self.quiet:
            self.say(message)

    def say(self, message: str) -> None:
        """Print a message on stderr, also with `--quiet`: for errors and for the last line."""
        click.echo(text.block(message), err=True)

    def _on_retry(self, why: str, delay_seconds: float) -> None:
        if why not in self._said and not self.ending:
            self._said.add(why)
            self.note(f"kjr: {why}; retrying in {durations.show(delay_seconds)}")

    @property
    def stdout_is_terminal(self) -> bool:
        return sys.stdout.isatty()

    @property
    def colored(self) -> bool:
        """Whether stdout is coloured: it is a terminal, and neither `--no-color` nor NO_COLOR (no-color.org) is set."""
        return self.stdout_is_terminal and color_allowed(self.color)


def color_allowed(flag: bool | None) -> bool:
    """Return whether the option and the environment allow colour."""
    return flag is not False and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def current() -> Invocation:
    invocation: Any = click.get_current_context().find_root().obj
    assert isinstance(invocation, Invocation)
    return invocation


def interactive() -> bool:
    """Return whether stderr is a terminal, so that a person sees our messages. It decides what Ctrl-C means."""
    return sys.stderr.isatty()
