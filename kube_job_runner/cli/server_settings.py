"""Settings for the verbs that run or operate the server. They import the server only when they are called."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from kube_job_runner.settings import Settings


def load(**overrides: Any) -> Settings:
    """Return the settings of the environment, with options on top. Warn of unknown `KJR_*` variables.

    Raises:
        SettingsError: a setting is invalid.
    """
    from kube_job_runner import settings as settings_module

    for name in settings_module.unknown_variables():
        click.echo(
            f"kjr: warning: the variable {name} is unknown{settings_module.suggestion(name)};"
            " `kjr config` lists all variables",
            err=True,
        )
    if overrides.get("data_dir") is not None:
        overrides["data_dir"] = Path(overrides["data_dir"]).expanduser().absolute()
    return settings_module.load(overrides)
