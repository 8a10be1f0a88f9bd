"""`kjr doctor`: checks an installation from this machine, and says how to fix what does not work."""

import click

from kube_job_runner.cli.terminal import text

_MARKS = {"ok": "[+]", "warn": "[!]", "fail": "[-]"}


@click.command("doctor")
@click.argument("components", nargs=-1, metavar="[COMPONENT...]")
def command(components: tuple[str, ...]) -> int:
    """Check what components need: settings, database, schema, rights, cluster, log store. Without names, check all components.

    Each check prints one line; a failed check also says what to do. Exit code 1: something does not work. Nothing is changed.
    """
    from kube_job_runner import settings as settings_module
    from kube_job_runner.bootstrap import commands

    for name in settings_module.unknown_variables():
        click.echo(f"[!]settings: {name} is unknown{settings_module.suggestion(name)}")
    results = commands.doctor(settings_module.load(), components)
    for result in results:
        click.echo(text.line(f"{_MARKS[result.level]}{result.name}: {result.text}"))
        if result.remedy:
            click.echo(text.line(f"   to do: {result.remedy}"))
    return 1 if any(result.level == "fail" for result in results) else 0
