"""Failure rules of an installation, read from a file by the server and by `kjr classify`."""

import json
from pathlib import Path
from typing import Any

from kube_job_runner.domain import failures
from kube_job_runner.domain.errors import ConfigurationError

FILE_MAX_BYTES = 1024 * 1024


def load(path: Path | None, *, named: str = "KJR_FAILURE_RULES") -> failures.Table:
    """Return the failure table with the rules of a YAML or JSON file before the built-in ones.

    `named` is the setting or the option that names the file, for errors.

    Raises:
        ConfigurationError: the file cannot be read, or a rule in it is wrong.
    """
    if path is None:
        return failures.TABLE
    try:
        custom = failures.parse_custom(_read(path))
    except (OSError, ValueError) as error:  # RulesError, JSON and Unicode errors are ValueErrors
        raise ConfigurationError(f"{named}: {path}: {_line(error)}") from None
    return failures.Table(failures.RULES, custom)


def _read(path: Path) -> Any:
    with path.open("rb") as file:
        content = file.read(FILE_MAX_BYTES + 1)
    if len(content) > FILE_MAX_BYTES:
        raise ValueError(f"is larger than {FILE_MAX_BYTES} bytes, the limit for a file of rules")
    text = content.decode("utf-8")
    if path.suffix == ".json":
        return json.loads(text)
    import yaml

    try:
        return yaml.safe_load(text)
    except (yaml.YAMLError, RecursionError) as error:
        raise ValueError(f"is not YAML: {_line(error)}") from None


def _line(error: Exception) -> str:
    return " ".join(str(error).split())
