"""What the commands that start the server share. Only they may import it, and only when they are called."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from kube_job_runner.settings import Settings


def load(**overrides: Any) -> Settings:
    """Return the settings of the environment with flags on top; warn of `KJR_*` variables that nobody knows.

    Raises:
        SettingsError: one cannot be read.
    """
    from kube_job_runner import settings as settings_module

    for name in settings_module.unknown_variables():
        click.echo(
            f"kjr: warning: the variable {name} is not known{settings_module.suggestion(name)};"
            " `kjr config` lists those that are",
            err=True,
        )
    if overrides.get("data_dir") is not None:
        overrides["data_dir"] = Path(overrides["data_dir"]).expanduser().absolute()
    return settings_module.load(overrides)


def banner(url: str, token: str, settings: Settings) -> None:
    """Say where the server is and what to try first. The token is shown by its beginning only: terminals are recorded."""
    lines = [
        f"kube-job-runner is up at {url}  (cluster: {settings.cluster.kind}, API: {url}/docs)",
        f"token: {token[:12]}…  in {settings.process.data_dir / 'connection.json'}; kjr on this machine finds it by itself"
        if token
        else "no authentication: anybody on this machine may use it",
    ]
    if settings.cluster.kind == "local":
        lines.append("the local cluster runs commands as processes of this machine; images are not used")
    lines += ["", "try:  kjr run busybox -- echo hello", "      kjr list", "stop: Ctrl-C"]
    click.echo("\n".join(lines), err=True)
