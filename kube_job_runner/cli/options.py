"""Options that several verbs share, and types of option values: durations, KEY=VALUE pairs."""

import functools
from collections.abc import Callable
from typing import Any, TypeVar

import click

from kube_job_runner.cli import invocation
from kube_job_runner.domain import durations

Function = TypeVar("Function", bound=Callable[..., Any])

FORMATS = ("table", "wide", "json", "jsonl", "yaml", "name", "id")


class Duration(click.ParamType[float]):
    """A duration in seconds, written like `10m`."""

    name = "duration"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        if isinstance(value, int | float):
            return float(value)
        try:
            return durations.parse(value)
        except ValueError as error:
            self.fail(str(error), param, ctx)


class KeyValue(click.ParamType[tuple[str, str]]):
    """A pair written like `KEY=VALUE`."""

    name = "key=value"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, str]:
        key, separator, text = str(value).partition("=")
        if not separator or not key:
            self.fail(f"{value!r} is not a pair; write it like KEY=VALUE", param, ctx)
        return key, text


DURATION = Duration()
KEY_VALUE = KeyValue()

idempotency_key = click.option("--idempotency-key", metavar="KEY", help="The same key never makes a second job.")

set_fields = click.option(
    "--set", "assignments", multiple=True, type=KEY_VALUE, metavar="PATH=VALUE",
    help="Set a field of the spec, like resources.memory=2Gi; null removes it. May be repeated.",
)  # fmt: skip
"""Add `--set`; `set_option` reads it."""


def wait_for_end(function: Function) -> Function:
    """Add `--wait` and `--wait-timeout`."""
    add_wait = click.option(
        "--wait", is_flag=True, help="Wait until the jobs have ended and return the exit code, as `kjr wait` does."
    )
    add_timeout = click.option(
        "--wait-timeout", type=DURATION, help="With --wait: return 75 if the jobs have not ended after this time."
    )
    return add_wait(add_timeout(function))


def connection(function: Function) -> Function:
    """Add `--server`, `--token` and `--no-color`. They are also allowed before the verb."""

    @click.option("--server", metavar="URL", help="Server to talk to. [env: KJR_SERVER]")
    @click.option(
        "--token", metavar="TOKEN", help="Bearer token. [env: KJR_TOKEN, which is safer: other users can see options]"
    )
    @click.option("--no-color", is_flag=True, help="No colour. [env: NO_COLOR]")
    @functools.wraps(function)
    def wrapped(*args: Any, server: str | None, token: str | None, no_color: bool, **kwargs: Any) -> Any:
        current = invocation.current()
        current.server = server or current.server
        current.token = token or current.token
        if no_color:
            current.color = False
        return function(*args, **kwargs)

    return wrapped  # type: ignore[return-value]


def output(*formats: str, default: str = "table", short_quiet: bool = True) -> Callable[[Function], Function]:
    """Add `-o` with these formats (all of them by default) and `--quiet`. `short_quiet` adds `-q` too."""
    choices = formats or FORMATS
    quiet_names = ("-q", "--quiet") if short_quiet else ("--quiet",)

    def decorate(function: Function) -> Function:
        @click.option(
            "-o", "--output", "output_format", type=click.Choice(choices), default=default, show_default=True,
            help="Format of the data on stdout.",
        )  # fmt: skip
        @click.option(*quiet_names, "quiet", is_flag=True, help="No progress and no hints on stderr.")
        @functools.wraps(function)
        def wrapped(*args: Any, output_format: str, quiet: bool, **kwargs: Any) -> Any:
            current = invocation.current()
            current.output, current.quiet = output_format, quiet
            return function(*args, **kwargs)

        return wrapped  # type: ignore[return-value]

    return decorate
