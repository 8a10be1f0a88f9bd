"""`kjr doctor`: what is wrong with an installation, seen from here, and what to do about it."""

from __future__ import annotations

import click

from kube_job_runner.cli.terminal import text

_MARKS = {"ok": "[+]", "warn": "[!]", "fail": "[-]"}


@click.command("doctor", short_help="Check configuration, database, cluster and rights; say what to mend.")
@click.argument("components", nargs=-1, metavar="[COMPONENT...]")
def command(components: tuple[str, ...]) -> int:
    """Check what the components named (all of them, if none is) need: settings, database, schema, rights, cluster, log store.

    One line for each check, with what to do; exit code 1 when something does not work, else 0. Nothing is changed.
    """
    from kube_job_runner import settings as settings_module
    from kube_job_runner.bootstrap import commands

    failed = False
    for name in settings_module.unknown_variables():
        click.echo(f"[!]settings: {name} is not known{settings_module.suggestion(name)}")
    settings = settings_module.load()
    for result in commands.doctor(settings, components):
        failed = failed or result.level == "fail"
        click.echo(text.line(f"{_MARKS[result.level]}{result.name}: {result.text}"))
        if result.remedy:
            click.echo(text.line(f"   to do: {result.remedy}"))
    return 1 if failed else 0
