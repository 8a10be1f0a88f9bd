"""What every command shares: where the server is, how to print, and which kind of exit codes applies."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import click

from kube_job_runner.cli.terminal import durations, text

if TYPE_CHECKING:
    from kube_job_runner.client import Client

BUDGET_SECONDS = 5.0
OUTAGE_SECONDS = 600.0


@dataclass
class Invocation:
    """The options common to all commands. `waiting` marks verbs that return the exit code of a job."""

    server: str | None = None
    token: str | None = None
    output: str = "table"
    quiet: bool = False
    color: bool | None = None
    waiting: bool = False
    ending: bool = False
    """The last word is said: a thread that loses its connection because we close it has nothing to tell."""
    _said: set[str] = field(default_factory=set)

    def client(self, *, patience: float = 1.0) -> Client:
        """Return a client for the server; the caller closes it. `patience` stretches the time a call is tried for."""
        from kube_job_runner.client import Client, RetryPolicy

        return Client(
            self.server,
            self.token,
            retry=RetryPolicy(budget_seconds=BUDGET_SECONDS * patience),
            outage_seconds=OUTAGE_SECONDS,
            on_retry=self._on_retry,
        )

    def note(self, message: str) -> None:
        """Say something to the person on stderr, unless `--quiet`."""
        if not self.quiet:
            self.say(message)

    def say(self, message: str) -> None:
        """Say something on stderr, also with `--quiet`: errors and the last line."""
        click.echo(text.block(message), err=True)

    def _on_retry(self, why: str, delay_seconds: float) -> None:
        if why not in self._said and not self.ending:
            self._said.add(why)
            self.note(f"kjr: {why}; trying again in {durations.show(delay_seconds)}")

    @property
    def stdout_is_terminal(self) -> bool:
        """Whether data is written to a terminal."""
        return sys.stdout.isatty()

    @property
    def colored(self) -> bool:
        """Whether stdout may be coloured: a terminal, and neither `--no-color` nor NO_COLOR (no-color.org)."""
        return self.stdout_is_terminal and color_allowed(self.color)


def color_allowed(flag: bool | None) -> bool:
    """Tell whether colour is allowed by the flag and by NO_COLOR."""
    return flag is not False and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def current() -> Invocation:
    """Return the invocation of the running command."""
    invocation: Any = click.get_current_context().find_root().obj
    assert isinstance(invocation, Invocation)
    return invocation


def interactive() -> bool:
    """Tell whether a person sees our messages: stderr is a terminal. It decides what Ctrl-C means."""
    return sys.stderr.isatty()
