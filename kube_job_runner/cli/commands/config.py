"""`kjr config`: the reference of all settings, made from the settings themselves."""

from __future__ import annotations

import ast
import inspect
import os
import re
from typing import Any

import click

from kube_job_runner.cli import options, session

_SECRET = re.compile(r"://[^/@]*@")


@click.command("config", short_help="Print every setting with its default and meaning.")
@options.output("table", "json", "jsonl", "yaml")
def command() -> int:
    """Print every setting of the server: its variable, its default, its meaning, and its value when it is set here."""
    from kube_job_runner.cli import output

    current = session.current()
    entries = reference()
    if current.output != "table":
        output.write_objects(entries, current.output)
        return 0
    for entry in entries:
        value = f"   (set: {entry['value']})" if entry["value"] is not None else ""
        click.echo(f"{entry['name']}  [default: {entry['default']}]{value}")
        click.echo(f"    {entry['meaning']}")
    return 0


def reference() -> list[dict[str, Any]]:
    """Return name, default, meaning and present value of every setting. Passwords in URLs are left out."""
    import msgspec

    from kube_job_runner import settings

    meanings = _meanings(settings.Settings)
    entries = []
    for field in msgspec.structs.fields(settings.Settings):
        name = settings.PREFIX + field.name.upper()
        given = os.environ.get(name)
        entries.append(
            {
                "name": name,
                "default": _default(field),
                "meaning": meanings.get(field.name, ""),
                "value": None if not given else _SECRET.sub("://***@", given),
            }
        )
    return entries


def _default(field: Any) -> str:
    import msgspec

    if field.default_factory not in (msgspec.NODEFAULT, dict):
        return "$XDG_DATA_HOME/kube-job-runner or ~/.local/share/kube-job-runner"
    if isinstance(field.default, tuple):
        return ",".join(field.default)
    return "none" if field.default is None or field.default_factory is dict else str(field.default)


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
