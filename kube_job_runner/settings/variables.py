"""`KJR_*` variables: read into settings, named when they are wrong or unknown, and shown.

Precedence: command-line flag, environment, default.
"""

import difflib
import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from kube_job_runner.settings import database_url
from kube_job_runner.settings.database_url import DatabaseUrl
from kube_job_runner.settings.groups import DatabaseSettings, Settings
from kube_job_runner.settings.standard_variables import secrets

PREFIX = "KJR_"
_NO_SETTINGS = {"KJR_SERVER", "KJR_TOKEN", "KJR_CACHE_DIR", "KJR_TESTBED_REQUIRED"}  # of clients, of the test bed
_DNS_LABEL = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")


class SettingsError(ValueError):
    """A setting is wrong; the message names the variable, its limit and the remedy."""


class Setting(msgspec.Struct, frozen=True):
    """One setting: its name, and the field of the group in `Settings` that holds it."""

    name: str
    group: str
    group_type: type[msgspec.Struct]
    field: msgspec.structs.FieldInfo

    @property
    def variable(self) -> str:
        return PREFIX + self.name.upper()

    def value(self, settings: Settings) -> Any:
        return getattr(getattr(settings, self.group), self.field.name)


def _all_settings() -> dict[str, Setting]:
    found = [
        Setting(field.encode_name, group.name, group.type, field)
        for group in msgspec.structs.fields(Settings)
        for field in msgspec.structs.fields(group.type)
    ]
    return {setting.name: setting for setting in found}


SETTINGS = _all_settings()
"""All settings by name, group by group."""


def load(overrides: Mapping[str, Any] | None = None, environ: Mapping[str, str] | None = None) -> Settings:
    """Return the settings of the environment, with `overrides` (by name, from flags; None is skipped) on top.

    Raises:
        SettingsError: a variable cannot be read as its type, or is outside its limits.
    """
    environ = os.environ if environ is None else environ
    values: dict[str, Any] = {}
    for setting in SETTINGS.values():
        if text := environ.get(setting.variable):
            values[setting.name] = _convert(setting, text)
    values.update({name: value for name, value in (overrides or {}).items() if value is not None})
    if values.get("database_url") is not None:
        values["database_url"] = _database_url("KJR_DATABASE_URL", values["database_url"])
    elif values.get("database_url_file") is not None:
        file = values["database_url_file"]
        values["database_url"] = _database_url(f"KJR_DATABASE_URL_FILE={file}", _url_in(file))
    settings = _grouped(values)
    _check_namespaces(settings.specs.namespaces)
    return settings


def _grouped(values: Mapping[str, Any]) -> Settings:
    fields: dict[str, dict[str, Any]] = {group: {} for group in Settings.__struct_fields__}
    for name, value in values.items():
        setting = SETTINGS[name]
        fields[setting.group][setting.field.name] = value
    types = {setting.group: setting.group_type for setting in SETTINGS.values()}
    groups: dict[str, Any] = {group: types[group](**given) for group, given in fields.items()}
    return Settings(**groups)


def _convert(setting: Setting, text: str) -> Any:
    type_ = setting.field.type
    value: Any = text
    if type_ == tuple[str, ...]:
        value = [part.strip() for part in text.split(",") if part.strip()]
    try:
        if type_ == Path | None:
            return Path(text).expanduser()
        if setting.name == "queue_limits":
            value = _queue_limits(text)
        return msgspec.convert(value, type_, strict=False, dec_hook=_dec_hook)
    except (msgspec.ValidationError, ValueError) as error:
        raise SettingsError(f"{setting.variable}={text!r}: {error}") from None


def _queue_limits(text: str) -> dict[str, str]:
    limits: dict[str, str] = {}
    for part in text.split(","):
        queue, _, limit = (piece.strip() for piece in part.partition("="))
        if not _DNS_LABEL.fullmatch(queue) or not limit.isdecimal():
            raise ValueError(
                f"{part.strip()!r} must be a queue and its limit, such as etl=10; pairs are joined by commas"
            )
        if queue in limits:
            raise ValueError(f"queue {queue} is named twice; keep one of its limits")
        limits[queue] = limit
    return limits


def _dec_hook(type_: type[Any], value: Any) -> Any:
    if type_ is Path:
        return Path(value).expanduser()
    raise NotImplementedError(type_)


def _database_url(variable: str, text: str) -> DatabaseUrl:
    try:
        return database_url.read(text)
    except ValueError as error:
        raise SettingsError(f"{variable}: {error}") from None


def _url_in(file: Path) -> str:
    try:
        url = file.read_text("utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"KJR_DATABASE_URL_FILE={file}: cannot be read: {error}") from None
    if not url:
        raise SettingsError(
            f"KJR_DATABASE_URL_FILE={file}: is empty; it must hold a URL like postgresql://user@host/name"
        )
    return url


def _check_namespaces(namespaces: Sequence[str]) -> None:
    if not namespaces:
        raise SettingsError("KJR_NAMESPACES: must name at least one namespace")
    for name in namespaces:
        if not _DNS_LABEL.fullmatch(name):
            raise SettingsError(
                f"KJR_NAMESPACES: {name!r} is no name of a namespace (at most 63 of a-z, 0-9 and '-'); name each one,"
                " joined by commas"
            )


def unknown_variables(environ: Mapping[str, str] | None = None) -> list[str]:
    """Return the `KJR_*` variables that no setting or client knows: most likely typing errors."""
    environ = os.environ if environ is None else environ
    known = _NO_SETTINGS | {setting.variable for setting in SETTINGS.values()}
    return sorted(name for name in environ if name.startswith(PREFIX) and name not in known)


def suggestion(name: str) -> str:
    """Return " (did you mean KJR_X?)" for an unknown variable that is nearly the name of a setting, else an empty string."""
    known = [setting.variable for setting in SETTINGS.values()]
    close = difflib.get_close_matches(name, known, n=1, cutoff=0.75)
    return f" (did you mean {close[0]}?)" if close else ""


def shown(settings: Settings) -> dict[str, str]:
    """Return all settings as text, by variable, for people: credentials in URLs are left out."""
    return {setting.variable: _text(setting.value(settings)) for setting in SETTINGS.values()}


def _text(value: Any) -> str:
    if isinstance(value, dict):
        value = ",".join(f"{key}={limit}" for key, limit in value.items())
    elif isinstance(value, tuple):
        value = ",".join(value)
    return "" if value is None else database_url.masked(value)


def environment_secrets(environ: Mapping[str, str] | None = None) -> frozenset[str]:
    """Return the secrets of the environment as far as they can be found, also of settings that cannot be read."""
    environ = os.environ if environ is None else environ
    try:
        return secrets(load(environ=environ), environ)
    except SettingsError:
        given = environ.get("KJR_DATABASE_URL")
        return secrets(Settings(database=DatabaseSettings(url=given)), environ)


def shown_text(variable: str, text: str) -> str:
    """Return the text of a variable for people: credentials in URLs are left out, also of one that cannot be read."""
    if variable != "KJR_DATABASE_URL":
        return database_url.masked(text)
    try:
        return database_url.read(text).shown
    except ValueError:
        return "(cannot be read)"


def changed(settings: Settings) -> dict[str, str]:
    """Return the settings that are not the default, as `shown` shows them."""
    defaults = shown(Settings())
    return {name: value for name, value in shown(settings).items() if value != defaults[name]}
