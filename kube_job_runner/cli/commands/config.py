"""`kjr config`: prints the reference of all settings, shows the ones in force here, and checks them."""

import ast
import functools
import inspect
import os
from typing import Any

import click

from kube_job_runner.cli import invocation, options, server_settings
from kube_job_runner.cli.terminal import output, text


@click.group("config", invoke_without_command=True)
@options.output("table", "json", "jsonl", "yaml")
@click.pass_context
def command(ctx: click.Context) -> None:
    """Print every setting of the server: variable, default, meaning, and the value if it is set here."""
    if ctx.invoked_subcommand is None:
        _print_reference()


@command.command("show", short_help="Print the settings in force here.")
@click.option("--changed", is_flag=True, help="Only settings that differ from their default.")
def show(changed: bool) -> None:
    """Print the settings in force here, one NAME=VALUE per line. Passwords in URLs are hidden."""
    from kube_job_runner import settings as settings_module

    current = server_settings.load()
    found = settings_module.changed(current) if changed else settings_module.shown(current)
    for name, value in found.items():
        click.echo(text.line(f"{name}={value}"))


@command.command("check", short_help="Check the settings here.")
def check() -> int:
    """Check the settings as a server would read them. Exit code 0: valid; 1: not. No connection is made.

    Unknown variables are errors too, because a misspelled variable leaves the default in force. The closest name is shown.
    """
    from kube_job_runner import settings as settings_module
    from kube_job_runner.bootstrap import rules
    from kube_job_runner.domain.errors import KjrError

    faults = [
        f"the variable {name} is unknown{settings_module.suggestion(name)}"
        for name in settings_module.unknown_variables()
    ]
    try:
        current = settings_module.load()
        rules.load(current.process.failure_rules)
    except (settings_module.SettingsError, KjrError) as error:
        faults.append(str(error))
    for fault in faults:
        click.echo(f"kjr: {text.block(fault)}", err=True)
    if not faults:
        click.echo("kjr: the settings are valid", err=True)
    return 1 if faults else 0


def _print_reference() -> None:
    current = invocation.current()
    entries = reference()
    if current.output != "table":
        output.write_objects(entries, current.output)
        return
    for entry in entries:
        value = f"   (set: {entry['value']})" if entry["value"] is not None else ""
        click.echo(f"{entry['name']}  [default: {entry['default']}]{value}")
        click.echo(f"    {entry['meaning']}")


def reference() -> list[dict[str, Any]]:
    """Return name, default, meaning and current value of every setting. Passwords in URLs are hidden."""
    from kube_job_runner import settings

    entries = []
    for setting in settings.SETTINGS.values():
        given = os.environ.get(setting.variable)
        value = settings.shown_text(setting.variable, given) if given else None
        meaning = _meanings(setting.group_type).get(setting.field.name, "")
        name, default = setting.variable, _default(setting.field)
        entries.append({"name": name, "default": default, "meaning": meaning, "value": value})
    return entries


def _default(field: Any) -> str:
    import msgspec

    if field.default_factory not in (msgspec.NODEFAULT, dict):
        return "$XDG_DATA_HOME/kube-job-runner or ~/.local/share/kube-job-runner"
    if isinstance(field.default, tuple):
        return ",".join(field.default)
    return "none" if field.default is None or field.default_factory is dict else str(field.default)


@functools.cache
def _meanings(type_: type[Any]) -> dict[str, str]:
    body = ast.parse(inspect.getsource(type_)).body[0]
    assert isinstance(body, ast.ClassDef)
    meanings = {}
    for statement, following in zip(body.body, body.body[1:], strict=False):
        if (
            isinstance(statement, ast.AnnAssign)
            and isinstance(statement.target, ast.Name)
            and isinstance(following, ast.Expr)
            and isinstance(following.value, ast.Constant)
        ):
            meanings[statement.target.id] = inspect.cleandoc(str(following.value.value))
    return meanings
